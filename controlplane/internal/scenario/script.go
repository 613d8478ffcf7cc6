package scenario

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
)

// separator stands between commands and the expected answer.
const separator = "----"

// Script is a file of steps.
type Script struct {
	path  string
	steps []step
}

// step is a paragraph: commands and what they answer, or (without commands) a comment.
type step struct {
	line     int
	comment  string
	commands []string
	answer   string
}

// Read parses a script: paragraphs separated by empty lines. Lines that begin with "#" are comments; an indented line continues the
// command before it.
func Read(path string) (*Script, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read script: %w", err)
	}
	script := &Script{path: path}
	line := 1
	for paragraph := range strings.SplitSeq(strings.TrimRight(string(text), "\n")+"\n", "\n\n") {
		one, err := parseStep(paragraph, line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, line, err)
		}
		script.steps = append(script.steps, one)
		line += strings.Count(paragraph, "\n") + 2
	}
	return script, nil
}

func parseStep(paragraph string, line int) (step, error) {
	one := step{line: line}
	lines := strings.Split(strings.Trim(paragraph, "\n"), "\n")
	for i, text := range lines {
		switch {
		case text == separator && len(one.commands) > 0:
			one.answer = strings.Join(lines[i+1:], "\n")
			return one, nil
		case strings.HasPrefix(text, "#"):
			one.comment += text + "\n"
		case strings.HasPrefix(text, " ") && len(one.commands) > 0:
			one.commands[len(one.commands)-1] += "\n" + text
		default:
			one.commands = append(one.commands, text)
		}
	}
	if len(one.commands) > 0 {
		return one, fmt.Errorf("commands without %q and an answer", separator)
	}
	return one, nil
}

// Run does the steps in a world, up to the first whose answer is not the expected one.
func (s *Script) Run(ctx context.Context, w *World) error {
	for _, one := range s.steps {
		got, err := one.run(ctx, w)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", s.path, one.line, err)
		}
		if got != one.answer {
			return fmt.Errorf("%s:%d:\n%s\nanswers\n%s\ninstead of\n%s", s.path, one.line, strings.Join(one.commands, "\n"), got, one.answer)
		}
	}
	return w.CheckWatchers(ctx)
}

func (one step) run(ctx context.Context, w *World) (string, error) {
	var answers []string
	for _, command := range one.commands {
		answer, err := w.Do(ctx, command)
		if err != nil {
			return "", fmt.Errorf("%s: %w", command, err)
		}
		if answer != "" {
			answers = append(answers, answer)
		}
	}
	return strings.Join(answers, "\n"), nil
}

// Update runs the steps and writes the file anew with the answers that it got.
func (s *Script) Update(ctx context.Context, w *World) error {
	var text bytes.Buffer
	for i, one := range s.steps {
		answer, err := one.run(ctx, w)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", s.path, one.line, err)
		}
		if i > 0 {
			text.WriteString("\n")
		}
		text.WriteString(one.comment)
		if len(one.commands) > 0 {
			text.WriteString(strings.TrimRight(strings.Join(one.commands, "\n")+"\n"+separator+"\n"+answer, "\n") + "\n")
		}
	}
	if err := os.WriteFile(s.path, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write script: %w", err)
	}
	return nil
}
