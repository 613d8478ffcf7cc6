package workspace

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// shellToken is one piece of a shell script: a comment, a continued line, an operator, a run of quoted and plain text.
var shellToken = regexp.MustCompile(`(?s)^(?:(#[^\n]*)|(\\\n|[ \t]+)|(&&|\|\||[|;&\n()]|[<>]+)|((?:'[^']*'|"(?:\\.|[^"])*"|\\[^\n]|[^\s'"\\|;&()<>])+))`)

// assignment is a variable set for one command (`A=b cmd`).
var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

// splitShell splits the scripts that documents show into commands and these into words. It knows quotes, comments,
// pipes, lists, groups, redirections and continued lines, which is all that a document should need.
func splitShell(script string) [][]string {
	var all [][]string
	var words []string
	redirected := false
	for script != "" {
		match := shellToken.FindStringSubmatch(script)
		if match == nil { // a lone quote or backslash: not ours to judge
			script = script[1:]
			continue
		}
		script = script[len(match[0]):]
		switch {
		case match[3] != "" && strings.Trim(match[3], "<>") == "":
			redirected = true
		case match[3] != "":
			all, words = appendCommand(all, words), nil
		case match[4] != "" && redirected:
			redirected = false
		case match[4] != "":
			words = append(words, unquote(match[4]))
		}
	}
	return appendCommand(all, words)
}

// appendCommand leaves out what is set before the command, and nothing at all.
func appendCommand(all [][]string, words []string) [][]string {
	for len(words) > 0 && (assignment.MatchString(words[0]) || words[0] == "$") {
		words = words[1:]
	}
	if len(words) == 0 {
		return all
	}
	return append(all, words)
}

var quoted = regexp.MustCompile(`(?s)'([^']*)'|"((?:\\.|[^"])*)"|\\(.)`)

func unquote(word string) string {
	return quoted.ReplaceAllString(word, "$1$2$3")
}

func TestSplitShell(t *testing.T) {
	t.Parallel()
	got := splitShell(`make dev   # in one shell
A=b $ printf 'a,b\n' | bin/streamhouse produce orders --key-separator , > "out put" && make test demo
curl -sS "$AGENT/x" \
  -d '{"a":
"b"}'; (cd x; make lint)
`)
	want := [][]string{
		{"make", "dev"},
		{"printf", `a,b\n`},
		{"bin/streamhouse", "produce", "orders", "--key-separator", ","},
		{"make", "test", "demo"},
		{"curl", "-sS", "$AGENT/x", "-d", "{\"a\":\n\"b\"}"},
		{"cd", "x"},
		{"make", "lint"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
