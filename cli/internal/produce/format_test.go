package produce

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
)

func TestKeySeparator(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ separator, line, key, value string }{
		{"", "a,b", "null", "a,b"},
		{",", "a,b", "a", "b"},
		{",", "a,b,c", "a", "b,c"},
		{",", "ab", "null", "ab"},
		{",", ",b", "", "b"},
		{",", "a,", "a", ""},
		{",", "", "null", ""},
		{"::", "a:b::c", "a:b", "c"},
		{",", "a\x00\xff,\x80\r", "a\x00\xff", "\x80\r"},
	} {
		r, err := Lines(c.separator)([]byte(c.line))
		if err != nil {
			t.Fatal(err)
		}
		if got := shown(r.Key); got != c.key {
			t.Errorf("%q at %q: the key is %q, want %q", c.line, c.separator, got, c.key)
		}
		if r.Value == nil || string(r.Value) != c.value {
			t.Errorf("%q at %q: the value is %q, want %q", c.line, c.separator, r.Value, c.value)
		}
	}
	if r, _ := Lines("")(nil); r.Value == nil {
		t.Error("an empty line has an empty value, not null")
	}
}

func shown(b []byte) string {
	if b == nil {
		return "null"
	}
	return string(b)
}

func TestJSONRecords(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 12, 0, 0, 123e6, time.UTC)
	for line, want := range map[string]client.Record{
		`{}`:                        {},
		`{"key":null,"value":null}`: {},
		`{"key":"","value":""}`:     {Key: []byte{}, Value: []byte{}},
		`{"key":"k","value":"vü"}`:  {Key: []byte("k"), Value: []byte("vü")},
		`{"key_base64":"/wA=","value_base64":""}`:       {Key: []byte{0xff, 0}, Value: []byte{}},
		`{"partition":3,"value":"v"}`:                   {Partition: 3, UsePartition: true, Value: []byte("v")},
		`{"timestamp":"2026-01-31T13:00:00.123+01:00"}`: {Timestamp: at},
		`{"timestamp":1769860800123}`:                   {Timestamp: at},
		`{"topic":"other","offset":7}`:                  {},
		`{"headers":[{"key":"a","value":"1"},{"key":"a","value":null},{"key":"b","value_base64":"/w=="}]}`: {
			Headers: []client.Header{{Key: "a", Value: []byte("1")}, {Key: "a"}, {Key: "b", Value: []byte{0xff}}},
		},
	} {
		got, err := JSON([]byte(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if !same(*got, want) {
			t.Errorf("%s: got %+v, want %+v", line, *got, want)
		}
	}
}

// same distinguishes null from empty.
func same(a, b client.Record) bool {
	if !sameBytes(a.Key, b.Key) || !sameBytes(a.Value, b.Value) || a.Partition != b.Partition || a.UsePartition != b.UsePartition ||
		!a.Timestamp.Equal(b.Timestamp) || len(a.Headers) != len(b.Headers) {
		return false
	}
	for i := range a.Headers {
		if a.Headers[i].Key != b.Headers[i].Key || !sameBytes(a.Headers[i].Value, b.Headers[i].Value) {
			return false
		}
	}
	return true
}

func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func TestMalformedJSONIsRefused(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`{`:                               "not a record in JSON",
		``:                                "not a record in JSON",
		`[]`:                              "not a record in JSON",
		`"v"`:                             "not a record in JSON",
		`{"value":"a"} {"value":"b"}`:     "something follows",
		`{"valeu":"a"}`:                   "valeu",
		`{"value":1}`:                     "value",
		`{"value":"a","value_base64":""}`: "give one of them",
		`{"key":"a","key_base64":"YQ=="}`: "give one of them",
		`{"value_base64":"%"}`:            "base64",
		`{"timestamp":"yesterday"}`:       "RFC 3339",
		`{"headers":[{"value":"x"}]}`:     "headers[0] has no key",
		"{\"value\":\"\xff\"}":            "not UTF-8",
	} {
		if _, err := JSON([]byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want one about %q", line, err, want)
		}
	}
}
