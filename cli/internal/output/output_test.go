package output

import (
	"strings"
	"testing"
	"time"
)

type thing struct {
	Name  string     `json:"name"`
	Count int64      `json:"count"`
	On    bool       `json:"is_on"`
	None  *string    `json:"none"`
	List  []string   `json:"list"`
	Inner inner      `json:"inner"`
	Empty []string   `json:"empty"`
	At    *time.Time `json:"at"`
}

type inner struct {
	Text string `json:"text"`
}

func sample() (thing, Rows) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 5e8, time.UTC)
	value := thing{Name: "a<b>", Count: 1 << 60, List: []string{"x", "true", "1"}, Inner: inner{Text: "two\nlines"}, Empty: []string{}, At: &at}
	return value, Rows{Head: []string{"NAME", "COUNT"}, Body: [][]string{{"a<b>", "3"}, {"", "a\tb\x1b"}}}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	value, rows := sample()
	for format, want := range map[Format]string{
		JSON: `{
  "name": "a<b>",
  "count": 1152921504606846976,
  "is_on": false,
  "none": null,
  "list": [
    "x",
    "true",
    "1"
  ],
  "inner": {
    "text": "two\nlines"
  },
  "empty": [],
  "at": "2026-01-31T12:00:00.5Z"
}
`,
		YAML: `name: a<b>
count: 1152921504606846976
is_on: false
none: null
list:
  - x
  - "true"
  - "1"
inner:
  text: "two\nlines"
empty: []
at: "2026-01-31T12:00:00.5Z"
`,
		Table: "NAME  COUNT\na<b>  3\n-     a b \n",
	} {
		var w strings.Builder
		if err := Print(&w, format, value, rows); err != nil {
			t.Fatal(err)
		}
		if w.String() != want {
			t.Errorf("%s: got\n%q, want\n%q", format, w.String(), want)
		}
	}
}

func TestEmptyTableSaysSo(t *testing.T) {
	t.Parallel()
	var w strings.Builder
	if err := Print(&w, Table, []thing{}, Rows{Head: []string{"NAME"}, Empty: "There are none."}); err != nil || w.String() != "There are none.\n" {
		t.Errorf("got %q, %v", w.String(), err)
	}
	w.Reset()
	if err := Print(&w, JSON, []thing{}, Rows{Empty: "There are none."}); err != nil || w.String() != "[]\n" {
		t.Errorf("got %q, %v", w.String(), err)
	}
}

func TestParseFormat(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]Format{"": Table, "table": Table, "json": JSON, "yaml": YAML} {
		if got, err := ParseFormat(name); err != nil || got != want {
			t.Errorf("%q: got %q, %v", name, got, err)
		}
	}
	if _, err := ParseFormat("xml"); err == nil {
		t.Error("there is no such format")
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	var w strings.Builder
	if err := Line(&w, inner{Text: "<a>\n"}); err != nil || w.String() != `{"text":"<a>\n"}`+"\n" {
		t.Errorf("got %q, %v", w.String(), err)
	}
}

func TestBytesAndRates(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "0.98 KiB", 1024: "1.00 KiB", 10 << 10: "10.0 KiB", 100 << 10: "100 KiB", 999 << 10: "999 KiB",
		5 << 30: "5.00 GiB", 1<<63 - 1: "8.00 EiB", -2048: "-2.00 KiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
	if Rate(0) != "" || Rate(100<<20) != "100 MiB/s" {
		t.Errorf("got %q and %q", Rate(0), Rate(100<<20))
	}
}

func TestTablesStandApart(t *testing.T) {
	t.Parallel()
	var w strings.Builder
	if err := Tables(&w, Rows{Head: []string{"A"}}, Rows{Empty: "none"}); err != nil || w.String() != "A\n\nnone\n" {
		t.Errorf("got %q, %v", w.String(), err)
	}
}
