package workspace

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	// The services that documents may name.
	_ "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	_ "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

// What a document shows in a fenced block of language sh is a promise: its make targets, its streamhouse commands
// and flags, and the RPCs that it calls by hand must exist. Output and sketches belong in blocks without a language.

// command is one shell command of a document: its words, quotes removed.
type command struct {
	file  string
	words []string
}

func TestMakeTargetsShownExist(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(root(), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands(t) {
		if c.words[0] != "make" {
			continue
		}
		for _, target := range c.words[1:] {
			if strings.Contains(target, "=") || strings.HasPrefix(target, "-") {
				continue
			}
			if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:`).Match(makefile) {
				t.Errorf("%s shows `%s`: there is no target %q", c.file, strings.Join(c.words, " "), target)
			}
		}
	}
}

// Every target that people may call is in `make help`, each with one line.
func TestMakeHelpListsEveryTarget(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("make", "--no-print-directory")
	cmd.Dir = root()
	help, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("make: %v\n%s", err, help)
	}
	for _, target := range []string{"help", "dev", "test", "check", "demo", "build", "generate", "lint", "fmt", "prove", "images"} {
		if n := len(regexp.MustCompile(`(?m)^  make `+target+` +\S`).FindAll(help, -1)); n != 1 {
			t.Errorf("make lists %q %d times", target, n)
		}
	}
}

func TestStreamhouseCommandsShownExist(t *testing.T) {
	t.Parallel()
	var checked int
	for _, c := range commands(t) {
		if filepath.Base(c.words[0]) != "streamhouse" {
			continue
		}
		checked++
		if complaint := checkStreamhouse(streamhouse(t), c.words[1:]); complaint != "" {
			t.Errorf("%s shows `%s`: %s", c.file, strings.Join(c.words, " "), complaint)
		}
	}
	if checked == 0 {
		t.Error("no document shows a streamhouse command: the way they are found must be broken")
	}
}

// The test above is as good as its judgement: it must refuse commands and flags that do not exist.
func TestStreamhouseCommandsInventedAreFound(t *testing.T) {
	t.Parallel()
	for _, words := range [][]string{
		{"topik", "create", "orders"},
		{"topic", "invent", "orders"},
		{"topic", "create", "orders", "--partitioning", "6"},
		{"topic"},
	} {
		if checkStreamhouse(streamhouse(t), words) == "" {
			t.Errorf("`streamhouse %s` passes for a command", strings.Join(words, " "))
		}
	}
}

// checkStreamhouse asks the command itself what it knows and returns what is wrong with the words, or "".
func checkStreamhouse(binary string, words []string) string {
	var path []string // subcommands come first; where they end and arguments begin, the usage line tells
	for _, word := range words {
		if strings.HasPrefix(word, "-") {
			break
		}
		path = append(path, word)
	}
	help := helpOf(binary, path)
	if help == "" {
		return "there is no such command"
	}
	for _, word := range words {
		flag, _, _ := strings.Cut(word, "=")
		if len(flag) > 1 && flag[0] == '-' && !regexp.MustCompile(`(^|[\s,\[])`+regexp.QuoteMeta(flag)+`([\s,=\]]|$)`).MatchString(help) {
			return "its help does not know the flag " + flag
		}
	}
	return ""
}

// helpOf returns the help of the command that the words begin with, or "".
func helpOf(binary string, words []string) string {
	for used := min(len(words), 3); used > 0; used-- {
		out, err := exec.Command(binary, append(slices.Clone(words[:used]), "--help")...).CombinedOutput()
		if err == nil && usageIs(string(out), words[:used]) {
			return string(out)
		}
	}
	return ""
}

var usageLine = regexp.MustCompile(`(?i)usage:\s+streamhouse\b(.*)`)

// usageIs says whether the help is that of exactly this command, and not of a group of commands.
func usageIs(help string, path []string) bool {
	match := usageLine.FindStringSubmatch(help)
	if match == nil {
		return false
	}
	var shown []string
	for word := range strings.FieldsSeq(match[1]) {
		if word == "<command>" || word == "[command]" {
			return false
		}
		if !regexp.MustCompile(`^[a-z][a-z0-9-]*$`).MatchString(word) {
			break
		}
		shown = append(shown, word)
	}
	return slices.Equal(shown, path)
}

// streamhouse builds the command as it is in the checkout: what lies in bin/ may be older than the documents.
func streamhouse(t *testing.T) string {
	t.Helper()
	binary, err := buildStreamhouse()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

var scratch string // of the whole package, removed by TestMain

var buildStreamhouse = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(scratch, "streamhouse")
	_, err := goCommand(root(), nil, "build", "-buildvcs=false", "-o", binary, "./cli/cmd/streamhouse")
	return binary, err
})

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "streamhouse-workspace-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		scratch = dir
		return m.Run()
	}())
}

var procedure = regexp.MustCompile(`/(streamhouse\.[a-z0-9.]+\.[A-Z]\w*)/([A-Z]\w*)`)

// An RPC shown as a path exists, and a JSON body after -d or --data is one that it accepts.
func TestProceduresShownExist(t *testing.T) {
	t.Parallel()
	for _, c := range commands(t) {
		for _, word := range c.words {
			match := procedure.FindStringSubmatch(word)
			if match == nil {
				continue
			}
			descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(match[1] + "." + match[2]))
			if err != nil {
				t.Errorf("%s calls %s: %v", c.file, match[0], err)
				continue
			}
			checkBody(t, c, descriptor.(protoreflect.MethodDescriptor).Input())
		}
	}
}

func checkBody(t *testing.T, c command, input protoreflect.MessageDescriptor) {
	t.Helper()
	for i, word := range c.words[:len(c.words)-1] {
		body := c.words[i+1]
		if !slices.Contains([]string{"-d", "--data", "--data-raw"}, word) || !strings.HasPrefix(body, "{") {
			continue
		}
		if err := protojson.Unmarshal([]byte(body), dynamicpb.NewMessage(input)); err != nil {
			t.Errorf("%s sends %s: %v", c.file, body, err)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)

func TestLinksBetweenDocumentsLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(match[1], "://") || strings.HasPrefix(match[1], "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), match[1])); err != nil {
				t.Errorf("%s links to %s: %v", rel(file), match[1], err)
			}
		}
	}
}

// documents are the Markdown files of the checkout, those of others excepted.
func documents(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root(), func(path string, entry fs.DirEntry, err error) error {
		name := entry.Name()
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root() && (name[0] == '.' || slices.Contains(foreign, name)):
			return filepath.SkipDir
		case !entry.IsDir() && filepath.Ext(name) == ".md":
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// foreign are folders of what others wrote or programs made.
var foreign = []string{"bin", "node_modules", "third_party", "tmp"}

func rel(file string) string {
	return strings.TrimPrefix(file, root()+string(filepath.Separator))
}

var block = regexp.MustCompile("(?ms)^ *```(?:sh|bash|shell)\n(.*?)^ *```")

// commands are all shell commands that the documents show.
func commands(t *testing.T) []command {
	t.Helper()
	var all []command
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range block.FindAllStringSubmatch(string(text), -1) {
			for _, words := range splitShell(match[1]) {
				all = append(all, command{file: rel(file), words: words})
			}
		}
	}
	return all
}
