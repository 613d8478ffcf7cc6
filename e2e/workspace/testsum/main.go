// Command testsum reads the JSON stream of `go test -json` and prints what a person wants to see of it: a line a
// package, the whole output of each test that failed, and at the very end the counts, alone on the last line.
// It decides nothing about how tests run; the Makefile does.
//
// Read: main.go, summary.go.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	record := flag.String("record", "", "also write the stream, as it came, to this `file`")
	flag.Parse()
	err := run(os.Stdin, os.Stdout, *record)
	if err != nil && !errors.Is(err, errFailed) { // the counts have said that, and stay the last line
		fmt.Fprintln(os.Stderr, "testsum:", err)
	}
	if err != nil {
		os.Exit(1)
	}
}

// run returns an error if a test failed or none ran: a stream that was cut off must not look like success.
func run(in io.Reader, out io.Writer, record string) error {
	if record != "" {
		file, err := os.Create(record)
		if err != nil {
			return fmt.Errorf("record the stream: %w", err)
		}
		defer file.Close()
		in = io.TeeReader(in, file)
	}
	s := newSummary(out)
	// A reader instead of a Scanner: a test may print a line of any length.
	for lines := bufio.NewReader(in); ; {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			s.add(line)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the stream: %w", err)
		}
	}
	return s.finish()
}
