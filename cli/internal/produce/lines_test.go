package produce

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

func readAll(t *testing.T, source *lines) (all [][]byte, taken int) {
	t.Helper()
	for {
		line, n, err := source.next()
		if errors.Is(err, io.EOF) {
			return all, taken
		}
		if err != nil {
			t.Fatal(err)
		}
		all, taken = append(all, line), taken+n
	}
}

func TestLinesAreSplitAtLineFeedsAlone(t *testing.T) {
	t.Parallel()
	mebibyte := strings.Repeat("x", 1<<20)
	for input, want := range map[string][]string{
		"":                                {},
		"\n":                              {""},
		"a":                               {"a"},
		"a\n":                             {"a"},
		"a\nb":                            {"a", "b"},
		"a\n\nb\n\n":                      {"a", "", "b", ""},
		"a\r\nb\r\n":                      {"a\r", "b\r"},
		"a\rb\n":                          {"a\rb"},
		"\x00\xff\xfe\n\x80\x00":          {"\x00\xff\xfe", "\x80\x00"},
		"a\u2028b\v\f\u0085\n":            {"a\u2028b\v\f\u0085"},
		mebibyte + "\n" + mebibyte + "\n": {mebibyte, mebibyte},
	} {
		all, taken := readAll(t, newLines(strings.NewReader(input)))
		if len(all) != len(want) || taken != len(input) {
			t.Errorf("%.20q: got %d lines of %d bytes, want %d of %d", input, len(all), taken, len(want), len(input))
			continue
		}
		for i, line := range all {
			if string(line) != want[i] {
				t.Errorf("%.20q: line %d is %.20q, want %.20q", input, i, line, want[i])
			}
		}
	}
}

// Lines joined again are the input, however the bytes arrive, and no line changes when later ones are read.
func TestLinesJoinedAreTheInput(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		input := rapid.SliceOf(rapid.SampledFrom([]byte("ab\r\n\x00\xff"))).Draw(t, "input")
		source := newLines(iotest.OneByteReader(bytes.NewReader(input)))
		var all [][]byte
		for {
			line, _, err := source.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, line)
		}
		joined := bytes.Join(all, []byte("\n"))
		if len(input) > 0 && input[len(input)-1] == '\n' {
			joined = append(joined, '\n')
		}
		if !bytes.Equal(joined, input) {
			t.Fatalf("got %q from %q", joined, input)
		}
	})
}

func TestLineOverTheBoundIsRefused(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"", "\n"} {
		source := newLines(strings.NewReader("ok\n" + strings.Repeat("x", 100) + end))
		source.limit = 100
		if all, _ := readAll(t, source); len(all) != 2 {
			t.Errorf("a line at the bound was refused")
		}
		source = newLines(strings.NewReader("ok\n" + strings.Repeat("x", 102) + end))
		source.limit = 100
		_, _, _ = source.next()
		if _, _, err := source.next(); err == nil || !strings.Contains(err.Error(), "line 2 is longer than 100 bytes") {
			t.Errorf("got %v, want one that names the line", err)
		}
	}
}

func TestErrorsOfTheInputAreKept(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken pipe")
	source := newLines(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)))
	if line, _, err := source.next(); err != nil || string(line) != "a" {
		t.Errorf("got %q, %v", line, err)
	}
	if _, _, err := source.next(); !errors.Is(err, broken) {
		t.Errorf("got %v, want the input's error: half a line is no record", err)
	}
}
