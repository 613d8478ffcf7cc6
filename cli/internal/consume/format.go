package consume

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"

	"github.com/streamhouse/streamhouse/client"
)

// Writer prints one record.
type Writer func(io.Writer, *client.Record) error

// ParseFormat returns the Writer of a format: value, json, or a template, which has {{ in it.
func ParseFormat(format string) (Writer, error) {
	switch {
	case format == "value":
		return writeValue, nil
	case format == "json":
		return writeJSON, nil
	case strings.Contains(format, "{{"):
		return parseTemplate(format)
	}
	return nil, fmt.Errorf("--format %q: must be value, json, or a template such as '{{.Partition}}/{{.Offset}} {{.Key}}: {{.Value}}'", format)
}

// writeValue writes the value's bytes, whatever they are, and \n. Null is written as nothing.
func writeValue(w io.Writer, r *client.Record) error {
	if _, err := w.Write(r.Value); err != nil {
		return err
	}
	_, err := w.Write([]byte{'\n'})
	return err
}

// jsonRecord is stable. Of key and key_base64 exactly one is there, and so with value.
type jsonRecord struct {
	Topic       string          `json:"topic"`
	Partition   int32           `json:"partition"`
	Offset      int64           `json:"offset"`
	Timestamp   string          `json:"timestamp"`
	Key         json.RawMessage `json:"key,omitempty"`
	KeyBase64   json.RawMessage `json:"key_base64,omitempty"`
	Value       json.RawMessage `json:"value,omitempty"`
	ValueBase64 json.RawMessage `json:"value_base64,omitempty"`
	Headers     []jsonHeader    `json:"headers"`
}

type jsonHeader struct {
	Key         string          `json:"key"`
	Value       json.RawMessage `json:"value,omitempty"`
	ValueBase64 json.RawMessage `json:"value_base64,omitempty"`
}

// timestampLayout is RFC 3339 with the milliseconds that are stored.
const timestampLayout = "2006-01-02T15:04:05.000Z07:00"

func writeJSON(w io.Writer, r *client.Record) error {
	j := jsonRecord{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UTC().Format(timestampLayout),
		Headers: make([]jsonHeader, 0, len(r.Headers)),
	}
	j.Key, j.KeyBase64 = textOrBase64(r.Key)
	j.Value, j.ValueBase64 = textOrBase64(r.Value)
	for _, h := range r.Headers {
		header := jsonHeader{Key: h.Key}
		header.Value, header.ValueBase64 = textOrBase64(h.Value)
		j.Headers = append(j.Headers, header)
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(j)
}

// textOrBase64 returns a JSON string in one of two places: text, or what is not UTF-8 in base64. Null is text.
func textOrBase64(b []byte) (text, binary json.RawMessage) {
	switch {
	case b == nil:
		return json.RawMessage("null"), nil
	case utf8.Valid(b):
		return quote(string(b)), nil
	}
	return nil, quote(base64.StdEncoding.EncodeToString(b))
}

func quote(s string) json.RawMessage {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) //nolint:errchkjson // a string can always be encoded
	return json.RawMessage(strings.TrimSuffix(b.String(), "\n"))
}

// fields are what a template can use.
type fields struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp time.Time
	// Key and Value as they are; empty where they are null, which KeyIsNull and ValueIsNull tell.
	Key, Value             string
	KeyIsNull, ValueIsNull bool
	Headers                []client.Header
}

// Header returns the value of the last header with the key, empty if there is none.
func (f fields) Header(key string) string {
	for _, h := range slices.Backward(f.Headers) {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

var templateFunctions = template.FuncMap{
	"base64": func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"json":   func(s string) string { return string(quote(s)) },
}

func parseTemplate(text string) (Writer, error) {
	parsed, err := template.New("--format").Option("missingkey=error").Funcs(templateFunctions).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("--format is no template: %w", err)
	}
	write := func(w io.Writer, r *client.Record) error {
		f := fields{
			Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp, Key: string(r.Key), Value: string(r.Value),
			KeyIsNull: r.Key == nil, ValueIsNull: r.Value == nil, Headers: r.Headers,
		}
		if err := parsed.Execute(w, f); err != nil {
			return err
		}
		_, err := w.Write([]byte{'\n'})
		return err
	}
	// A field that does not exist is found here, not at the first record.
	if err := write(io.Discard, &client.Record{}); err != nil {
		return nil, fmt.Errorf("--format: %w", err)
	}
	return write, nil
}
