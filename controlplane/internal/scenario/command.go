package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// command is a verb, its words and its options ("name=value", in any order); deeper lines are entries of their own.
type command struct {
	verb    string
	words   []string
	options map[string]string
	entries []command
}

func parseCommand(text string) (command, error) {
	lines := strings.Split(text, "\n")
	c, err := parseLine(lines[0])
	if err != nil {
		return c, err
	}
	for _, line := range lines[1:] {
		entry, err := parseLine(line)
		if err != nil {
			return c, err
		}
		c.entries = append(c.entries, entry)
	}
	return c, nil
}

func parseLine(line string) (command, error) {
	c := command{options: map[string]string{}}
	for i, word := range strings.Fields(line) {
		name, value, isOption := strings.Cut(word, "=")
		switch {
		case i == 0:
			c.verb = word
		case isOption:
			c.options[name] = value
		default:
			c.words = append(c.words, word)
		}
	}
	if c.verb == "" {
		return c, errors.New("an empty command")
	}
	return c, nil
}

// known refuses options that the verb does not have: a misspelt one would change nothing, silently.
func (c command) known(names ...string) error {
	for option := range c.options {
		if !containsWord(names, option) {
			return fmt.Errorf("%s has no option %q", c.verb, option)
		}
	}
	return nil
}

func containsWord(words []string, word string) bool { return slices.Contains(words, word) }

// has says whether the word stands in the command: a switch.
func (c command) has(word string) bool { return containsWord(c.words, word) }

// word answers the i-th word.
func (c command) word(i int) (string, error) {
	if i >= len(c.words) {
		return "", fmt.Errorf("%s wants more words", c.verb)
	}
	return c.words[i], nil
}

func (c command) text(option, otherwise string) string {
	if value, given := c.options[option]; given {
		return value
	}
	return otherwise
}

func (c command) number(option string, otherwise int64) (int64, error) {
	text, given := c.options[option]
	if !given {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s=%s is no number", option, text)
	}
	return n, nil
}

func (c command) number32(option string, otherwise int32) (int32, error) {
	n, err := c.number(option, int64(otherwise))
	return int32(n), err
}

func (c command) duration(option string, otherwise time.Duration) (time.Duration, error) {
	text, given := c.options[option]
	if !given {
		return otherwise, nil
	}
	return time.ParseDuration(text)
}
