package consume

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/produce"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.Date(2026, 1, 31, 13, 0, 0, 120e6, time.FixedZone("", 3600))

func formatted(t *testing.T, format string, r client.Record) string {
	t.Helper()
	write, err := ParseFormat(format)
	if err != nil {
		t.Fatal(err)
	}
	var w bytes.Buffer
	if err := write(&w, &r); err != nil {
		t.Fatal(err)
	}
	return w.String()
}

func TestValueFormatIsByteExact(t *testing.T) {
	t.Parallel()
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, value := range [][]byte{nil, {}, []byte("a"), []byte("a\r"), []byte("a\n\n"), every, bytes.Repeat([]byte("x"), 1<<20)} {
		if got, want := formatted(t, "value", client.Record{Value: value}), string(value)+"\n"; got != want {
			t.Errorf("got %.40q, want %.40q", got, want)
		}
	}
}

// Scripts read these lines: names, order and forms are a promise.
func TestJSONFormatIsStable(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]client.Record{
		`{"topic":"t","partition":1,"offset":2,"timestamp":"2026-01-31T12:00:00.120Z","key":"k","value":"<v>&\u2028\n","headers":[]}`: {
			Topic: "t", Partition: 1, Offset: 2, Timestamp: at, Key: []byte("k"), Value: []byte("<v>&\u2028\n"),
		},
		`{"topic":"t","partition":0,"offset":0,"timestamp":"2026-01-31T12:00:00.120Z","key":null,"value":null,"headers":[]}`: {
			Topic: "t", Timestamp: at,
		},
		`{"topic":"t","partition":0,"offset":0,"timestamp":"2026-01-31T12:00:00.120Z","key":"","value":"","headers":[]}`: {
			Topic: "t", Timestamp: at, Key: []byte{}, Value: []byte{},
		},
		`{"topic":"t","partition":0,"offset":0,"timestamp":"2026-01-31T12:00:00.120Z","key_base64":"/w==","value_base64":"/gA=",` +
			`"headers":[{"key":"a","value":"1"},{"key":"a","value":null},{"key":"b","value_base64":"/w=="}]}`: {
			Topic: "t", Timestamp: at, Key: []byte{0xff}, Value: []byte{0xfe, 0},
			Headers: []client.Header{{Key: "a", Value: []byte("1")}, {Key: "a"}, {Key: "b", Value: []byte{0xff}}},
		},
	} {
		if got := formatted(t, "json", r); got != want+"\n" {
			t.Errorf("got  %swant %s", got, want)
		}
	}
}

// What consume prints as JSON, produce reads: nothing is lost on the way, null stays null and empty stays empty.
func TestProduceReadsWhatConsumePrints(t *testing.T) {
	t.Parallel()
	anyBytes := rapid.OneOf(rapid.Just([]byte(nil)), rapid.Just([]byte{}), rapid.SliceOf(rapid.Byte()),
		rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }))
	text := rapid.String().Filter(utf8.ValidString)
	rapid.Check(t, func(t *rapid.T) {
		r := client.Record{
			Topic: "t", Partition: rapid.Int32Range(0, 1<<20).Draw(t, "partition"), Offset: 7,
			Key: anyBytes.Draw(t, "key"), Value: anyBytes.Draw(t, "value"),
			Timestamp: time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, "millis")),
		}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			r.Headers = append(r.Headers, client.Header{Key: text.Draw(t, "header"), Value: anyBytes.Draw(t, "header value")})
		}
		var w bytes.Buffer
		if err := writeJSON(&w, &r); err != nil {
			t.Fatal(err)
		}
		line, more, _ := bytes.Cut(w.Bytes(), []byte("\n"))
		if len(more) > 0 {
			t.Fatalf("a record takes one line: %q", w.String())
		}
		back, err := produce.JSON(line)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if !sameBytes(back.Key, r.Key) || !sameBytes(back.Value, r.Value) || back.Partition != r.Partition || !back.UsePartition ||
			!back.Timestamp.Equal(r.Timestamp) || len(back.Headers) != len(r.Headers) {
			t.Fatalf("%q became %+v, was %+v", line, back, r)
		}
		for i, h := range back.Headers {
			if h.Key != r.Headers[i].Key || !sameBytes(h.Value, r.Headers[i].Value) {
				t.Fatalf("header %d became %+v, was %+v", i, h, r.Headers[i])
			}
		}
	})
}

func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func TestTemplates(t *testing.T) {
	t.Parallel()
	r := client.Record{
		Topic: "t", Partition: 1, Offset: 2, Timestamp: at, Key: []byte("k"), Value: []byte("v\xff"),
		Headers: []client.Header{{Key: "h", Value: []byte("1")}, {Key: "h", Value: []byte("2")}},
	}
	for format, want := range map[string]string{
		"{{.Topic}}/{{.Partition}}@{{.Offset}} {{.Key}}={{.Value}}": "t/1@2 k=v\xff\n",
		"{{base64 .Value}}":                           "dv8=\n",
		"{{json .Key}}":                               "\"k\"\n",
		`{{.Header "h"}}{{.Header "no"}}`:             "2\n",
		"{{.Timestamp.UnixMilli}}":                    "1769860800120\n",
		"{{range .Headers}}{{.Key}};{{end}}":          "h;h;\n",
		"{{if .ValueIsNull}}null{{else}}value{{end}}": "value\n",
	} {
		if got := formatted(t, format, r); got != want {
			t.Errorf("%s: got %q, want %q", format, got, want)
		}
	}
}

func TestFormatsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"", "text", "JSON", "{{", "{{.Valeu}}", "{{nope .Value}}", "{{.Header}}"} {
		if _, err := ParseFormat(format); err == nil || !strings.Contains(err.Error(), "--format") {
			t.Errorf("%q: got %v", format, err)
		}
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	now := at
	for text, want := range map[string]time.Time{
		"2026-01-31T12:00:00Z":        time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
		"2026-01-31T12:00:00.5+02:00": time.Date(2026, 1, 31, 10, 0, 0, 5e8, time.UTC),
		"2026-01-31 12:00:00":         time.Date(2026, 1, 31, 11, 0, 0, 0, time.UTC),
		"2026-01-31 12:00":            time.Date(2026, 1, 31, 11, 0, 0, 0, time.UTC),
		"2026-01-31":                  time.Date(2026, 1, 30, 23, 0, 0, 0, time.UTC),
		"-10m":                        now.Add(-10 * time.Minute),
	} {
		if got, err := ParseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10m", "yesterday", "-", "2026-13-01"} {
		if got, err := ParseTime(text, now); err == nil {
			t.Errorf("%q: got %v", text, got)
		}
	}
}
