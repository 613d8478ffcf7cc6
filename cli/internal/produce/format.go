package produce

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/streamhouse/streamhouse/client"
)

// Parser turns a line into a record. The line's memory is the record's from then on.
type Parser func(line []byte) (*client.Record, error)

// Lines makes every line a value. With a separator, what stands before its first occurrence is the key; a line without one has a null key.
func Lines(separator string) Parser {
	return func(line []byte) (*client.Record, error) {
		if line == nil {
			line = []byte{} // empty, which is not null
		}
		if separator != "" {
			if key, value, found := bytes.Cut(line, []byte(separator)); found {
				return &client.Record{Key: key, Value: value}, nil
			}
		}
		return &client.Record{Value: line}, nil
	}
}

// jsonRecord is the JSON form of a record, as consume prints it. Topic and offset say where a record came from and are not used.
type jsonRecord struct {
	Topic       *string        `json:"topic"`
	Partition   *int32         `json:"partition"`
	Offset      *int64         `json:"offset"`
	Timestamp   *jsonTimestamp `json:"timestamp"`
	Key         *string        `json:"key"`
	KeyBase64   *[]byte        `json:"key_base64"`
	Value       *string        `json:"value"`
	ValueBase64 *[]byte        `json:"value_base64"`
	Headers     []jsonHeader   `json:"headers"`
}

type jsonHeader struct {
	Key         *string `json:"key"`
	Value       *string `json:"value"`
	ValueBase64 *[]byte `json:"value_base64"`
}

// jsonTimestamp is RFC 3339, or milliseconds since 1970 UTC.
type jsonTimestamp struct{ time.Time }

// UnmarshalJSON reads either form.
func (t *jsonTimestamp) UnmarshalJSON(text []byte) error {
	var millis int64
	if err := json.Unmarshal(text, &millis); err == nil {
		t.Time = time.UnixMilli(millis)
		return nil
	}
	var written string
	err := json.Unmarshal(text, &written)
	if err == nil {
		t.Time, err = time.Parse(time.RFC3339Nano, written)
	}
	if err != nil {
		return fmt.Errorf("timestamp %s: must be RFC 3339, or milliseconds since 1970", text)
	}
	return nil
}

// JSON reads a record from a line: partition, timestamp, key, value, headers; key_base64 and value_base64 for what is not text. What is
// absent or null is null; "" is empty.
func JSON(line []byte) (*client.Record, error) {
	if !utf8.Valid(line) {
		return nil, errors.New("not UTF-8: use key_base64 and value_base64 for bytes that are not text")
	}
	var j jsonRecord
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&j); err != nil {
		return nil, fmt.Errorf("not a record in JSON: %w", err)
	}
	if decoder.More() {
		return nil, errors.New("not a record in JSON: something follows it on the line")
	}
	return j.record()
}

func (j *jsonRecord) record() (*client.Record, error) {
	r := &client.Record{}
	var err1, err2 error
	r.Key, err1 = either("key", j.Key, j.KeyBase64)
	r.Value, err2 = either("value", j.Value, j.ValueBase64)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if j.Timestamp != nil {
		r.Timestamp = j.Timestamp.Time
	}
	if j.Partition != nil {
		r.Partition, r.UsePartition = *j.Partition, true
	}
	for i, h := range j.Headers {
		if h.Key == nil {
			return nil, fmt.Errorf("headers[%d] has no key", i)
		}
		value, err := either("value", h.Value, h.ValueBase64)
		if err != nil {
			return nil, fmt.Errorf("headers[%d]: %w", i, err)
		}
		r.Headers = append(r.Headers, client.Header{Key: *h.Key, Value: value})
	}
	return r, nil
}

// either returns the bytes of the one form that is given; nil: none is.
func either(name string, text *string, binary *[]byte) ([]byte, error) {
	switch {
	case text != nil && binary != nil:
		return nil, fmt.Errorf("%s and %s_base64: give one of them", name, name)
	case text != nil:
		return []byte(*text), nil
	case binary != nil:
		return *binary, nil
	}
	return nil, nil
}
