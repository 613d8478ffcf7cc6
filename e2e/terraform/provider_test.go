package terraform_test

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/e2e/process"
)

// attachVariable tells Terraform of providers that run already.
const attachVariable = "TF_REATTACH_PROVIDERS"

// attachment is what a provider that was started by itself wants the variable to be.
var attachment = regexp.MustCompile(attachVariable + `='(\{.*\})'`)

// startProvider starts the provider that init has put into a folder, and has Terraform use it as long as the test runs. Terraform itself starts one for each
// step of each run, some hundred and sixty in all, and each of them takes most of a second until it knows its resources.
func (s *stack) startProvider(t *testing.T) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.root, ".terraform", "providers", "registry.terraform.io", "hashicorp", "aws", "*", "*", "terraform-provider-aws*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("init has put %d providers into place: %v", len(found), err)
	}
	provider := process.Start(t, process.Spec{
		Name: "the provider", Path: found[0], Args: []string{"-debug"}, Dir: s.root, Stop: syscall.SIGINT,
		Env: []string{"TF_LOG_SDK=off", "AWS_EC2_METADATA_DISABLED=true"}, Log: filepath.Join(t.TempDir(), "log"),
	})
	t.Cleanup(func() { // it takes its socket away, which it does not if it is killed
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := provider.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := provider.Ready(ctx, func(context.Context) error {
		log, err := provider.Log()
		said := attachment.FindSubmatch(log)
		if said == nil {
			return errors.Join(errors.New("it has not said how to reach it"), err)
		}
		s.env = append(s.env, attachVariable+"="+string(said[1]))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
