// Package terraform_test checks what is below terraform/ without a network and without an account: format, validity, and the tests of each
// module and example with mock providers; and that the settings which task definitions pass are those that the real binaries take.
//
// Terraform and its provider take seconds to start, and more to tell what they know, at each command: so there is one command for all of it, and one provider
// that runs all the time.
// Read: terraform_test.go, provider_test.go, merged_test.go, settings_test.go.
package terraform_test

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// mirrorVariable names a folder that holds registry.terraform.io.
	mirrorVariable = "STREAMHOUSE_TERRAFORM_MIRROR"
	// patience is exceeded by a hang alone.
	patience = 5 * time.Minute
)

// stack is a copy of terraform/, so that nothing is written into the checkout.
type stack struct {
	binary, mirror, root string
	env                  []string // besides the test's own
}

// newStack finds Terraform and its providers. Without Terraform the test is skipped, aloud.
func newStack(t *testing.T) *stack {
	t.Helper()
	if testing.Short() {
		t.Skip("starts terraform")
	}
	binary, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("terraform is not installed: nothing below terraform/ was checked")
	}
	s := &stack{
		binary: binary, mirror: mirror(), root: t.TempDir(),
		env: []string{"CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "AWS_EC2_METADATA_DISABLED=true"},
	}
	if err := os.CopyFS(s.root, os.DirFS(filepath.Join("..", "..", "terraform"))); err != nil {
		t.Fatal(err)
	}
	return s
}

// mirror is the folder with the providers; empty: Terraform asks the network.
func mirror() string {
	home, _ := os.UserHomeDir()
	places := []string{os.Getenv(mirrorVariable)}
	opt, _ := filepath.Glob("/opt/*")
	places = append(places, opt...)
	places = append(places, filepath.Join(home, ".terraform.d", "plugins"), "/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins")
	for _, place := range places {
		if place == "" {
			continue
		}
		if info, err := os.Stat(filepath.Join(place, "registry.terraform.io")); err == nil && info.IsDir() {
			return place
		}
	}
	return ""
}

// folders are all modules and examples.
func (s *stack) folders(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.root, "*", "*", "main.tf"))
	if err != nil || len(found) < 10 {
		t.Fatalf("%d modules and examples: %v", len(found), err)
	}
	for i, f := range found {
		found[i] = filepath.Dir(f)
	}
	return found
}

// run runs terraform in a folder; it must succeed.
func (s *stack) run(t *testing.T, folder string, args ...string) {
	t.Helper()
	if out, err := s.try(t, folder, args...); err != nil {
		t.Fatalf("terraform %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// try runs terraform in a folder and returns what it prints.
func (s *stack) try(t *testing.T, folder string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, s.binary, args...)
	command.Dir = folder
	command.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TF_CLI_CONFIG_FILE=") }), s.env...)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	err := command.Run()
	return out.String(), err
}

func (s *stack) init(t *testing.T, folder string) {
	t.Helper()
	args := []string{"init", "-backend=false", "-input=false", "-no-color"}
	if s.mirror != "" {
		args = append(args, "-plugin-dir="+s.mirror)
	}
	s.run(t, folder, args...)
}

// TestEveryFolderIsDocumented: a README, typed and described variables, described outputs.
func TestEveryFolderIsDocumented(t *testing.T) {
	t.Parallel()
	found, err := filepath.Glob(filepath.Join("..", "..", "terraform", "*", "*", "main.tf"))
	if err != nil || len(found) < 10 {
		t.Fatalf("%d modules and examples: %v", len(found), err)
	}
	for _, main := range found {
		folder := filepath.Dir(main)
		if _, err := os.Stat(filepath.Join(folder, "versions.tf")); err != nil {
			t.Error(err)
		}
		for file, wanted := range map[string][]string{"variables.tf": {"description", "type"}, "outputs.tf": {"description"}} {
			content, err := os.ReadFile(filepath.Join(folder, file))
			if err != nil {
				t.Error(err)
				continue
			}
			for block := range strings.SplitSeq(string(content), "\n}\n") {
				name, _, _ := strings.Cut(strings.TrimSpace(block), "{")
				for _, attribute := range wanted {
					if name != "" && !strings.Contains(block, "\n  "+attribute) {
						t.Errorf("%s: %s has no %s", filepath.Join(folder, file), cmp.Or(strings.TrimSpace(name), "a block"), attribute)
					}
				}
			}
		}
	}
}
