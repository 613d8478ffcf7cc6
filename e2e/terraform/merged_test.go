package terraform_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestModulesAndExamples are formatted, valid, and do what they must; the settings of their tasks are taken by the real binaries; and as many resources are
// made as terraform/README.md says.
func TestModulesAndExamples(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.run(t, s.root, "fmt", "-check", "-recursive")
	tested := s.merge(t)
	s.init(t, s.root)
	s.startProvider(t)
	s.run(t, s.root, "validate", "-no-color")
	outcome := s.test(t, tested)
	for _, name := range tested {
		t.Run(name, func(t *testing.T) { outcome.passed(t, name) })
	}
	t.Run("resources of the examples", outcome.resources)
	t.Run("the binaries take their settings", outcome.settings)
}

// examples whose resources terraform/README.md counts, and group, the module whose settings the binaries must take: of their runs what they make is read.
var (
	examples = []string{"examples/single-group", "examples/prod-and-staging", "examples/existing-vpc"}
	group    = "modules/streamhouse"
)

// root is the merged configuration. Mock providers know no ephemeral values, of which the first keys are made: that module has no tests, and is
// validated.
const root = `terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.80, < 7.0"
    }
  }
}

module "keys" {
  source = "./examples/keys"
}
`

// beginning of a run in a module's tests.
var beginning = regexp.MustCompile(`(?m)^run "[^"]+" \{$`)

// merge makes one configuration of all, whose tests are those of each module and example, each in its folder as a module. It returns their names.
func (s *stack) merge(t *testing.T) (tested []string) {
	t.Helper()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(s.root, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(s.root, "tests"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("main.tf", root)
	for _, folder := range s.folders(t) {
		name, _ := filepath.Rel(s.root, folder)
		files, err := filepath.Glob(filepath.Join(folder, "tests", "*.tftest.hcl"))
		if err != nil || len(files) != 1 {
			if filepath.Base(folder) != "keys" {
				t.Errorf("%s has %d files of tests", name, len(files))
			}
			continue
		}
		text, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		of := fmt.Sprintf("$0\n  module {\n    source = \"./%s\"\n  }\n", name)
		merged := beginning.ReplaceAllString(strings.ReplaceAll(string(text), `"../../mocks"`, `"./mocks"`), of)
		write(testFile(name), strings.ReplaceAll(merged, `file("`, `file("./`+name+`/`))
		tested = append(tested, name)
	}
	return tested
}

// testFile is where the tests of a folder are merged to.
func testFile(name string) string {
	return filepath.Join("tests", strings.ReplaceAll(name, "/", "-")+".tftest.hcl")
}

// outcome of all tests.
type outcome struct {
	runs map[string]map[string]run // by file and name
	text string
}

type run struct {
	status  string
	outputs map[string]json.RawMessage
	made    map[string]int // resources by type
}

// state is what a run has made; of it what is read here.
type state struct {
	Outputs map[string]struct {
		Value json.RawMessage `json:"value"`
	} `json:"outputs"`
	Root made `json:"root_module"`
}

type made struct {
	Resources []struct{ Mode, Type string } `json:"resources"`
	Children  []made                        `json:"child_modules"`
}

func (m made) count(into map[string]int) {
	for _, r := range m.Resources {
		if r.Mode == "managed" {
			into[r.Type]++
		}
	}
	for _, child := range m.Children {
		child.count(into)
	}
}

// test runs them; what fails is told by passed. With each state Terraform prints all that the provider knows, 14 MB, so that states are printed only where
// they are read.
func (s *stack) test(t *testing.T, tested []string) *outcome {
	t.Helper()
	o := &outcome{runs: map[string]map[string]run{}}
	read, others := []string{"test", "-json", "-verbose"}, []string{"test", "-json"}
	for _, name := range tested {
		filter := "-filter=" + testFile(name)
		if name == group || slices.Contains(examples, name) {
			read = append(read, filter)
		} else {
			others = append(others, filter)
		}
	}
	for _, args := range [][]string{read, others} {
		text, err := s.try(t, s.root, args...)
		for line := range strings.Lines(text) {
			o.add(line)
		}
		if err != nil && o.text == "" {
			t.Fatalf("terraform test: %v\n%s", err, text)
		}
	}
	return o
}

// add takes a line of what Terraform prints.
func (o *outcome) add(line string) {
	// What the provider knows is the end of a state. Nobody reads it, and to have it parsed takes seconds.
	if before, _, found := strings.Cut(line, `,"provider_schemas":`); found {
		line = before + "}}"
	}
	var event struct {
		Message string `json:"@message"`
		Level   string `json:"@level"`
		File    string `json:"@testfile"`
		Run     string `json:"@testrun"`
		Type    string `json:"type"`
		TestRun struct {
			Progress, Status string
		} `json:"test_run"`
		State *state `json:"test_state"`
	}
	if json.Unmarshal([]byte(line), &event) != nil {
		return
	}
	if event.Level == "error" || event.Type == "diagnostic" {
		o.text += event.File + " " + event.Run + ": " + line
	}
	if event.Run == "" {
		return
	}
	if o.runs[event.File] == nil {
		o.runs[event.File] = map[string]run{}
	}
	r := o.runs[event.File][event.Run]
	if event.TestRun.Progress == "complete" {
		r.status = event.TestRun.Status
	}
	if event.State != nil {
		r.outputs, r.made = map[string]json.RawMessage{}, map[string]int{}
		for name, output := range event.State.Outputs {
			r.outputs[name] = output.Value
		}
		event.State.Root.count(r.made)
	}
	o.runs[event.File][event.Run] = r
}

// passed: all runs of a folder did, and there are some.
func (o *outcome) passed(t *testing.T, name string) {
	t.Helper()
	file := testFile(name)
	if len(o.runs[file]) == 0 {
		t.Fatalf("nothing ran: %s", o.text)
	}
	for run, r := range o.runs[file] {
		if r.status != "pass" {
			t.Errorf("%s: %q\n%s", run, r.status, o.text)
		}
	}
}

// resources holds the numbers in terraform/README.md against what a run of each example has made.
func (o *outcome) resources(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "terraform", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, example := range examples {
		r := o.runs[testFile(example)]["plans"]
		total := 0
		for _, n := range r.made {
			total += n
		}
		said := regexp.MustCompile(`\(` + example + `\) \|[^|]*\| (\d+) \|`).FindSubmatch(readme)
		if total == 0 || said == nil || string(said[1]) != fmt.Sprint(total) {
			t.Errorf("%s makes %d resources, terraform/README.md says %q", example, total, said)
		}
		t.Logf("%s: %d resources", example, total)
		for _, kind := range slices.Sorted(maps.Keys(r.made)) {
			t.Logf("  %3d %s", r.made[kind], kind)
		}
	}
}
