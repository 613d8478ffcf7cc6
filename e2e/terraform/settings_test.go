package terraform_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/e2e/cluster"
)

// settings are what the task definitions of one cluster pass.
type settings struct {
	controlPlane map[string]string
	agents       map[string]map[string]map[string]string // by agent group and zone
}

// rendered runs the root module's tests and takes the settings from the outputs of the run with two agent groups.
func rendered(t *testing.T, s *stack) settings {
	t.Helper()
	folder := filepath.Join(s.root, "modules", "streamhouse")
	s.init(t, folder)
	var got settings
	for line := range strings.Lines(s.run(t, folder, "test", "-json", "-verbose")) {
		var event struct {
			Run   string `json:"@testrun"`
			State struct {
				Outputs map[string]struct {
					Value json.RawMessage `json:"value"`
				} `json:"outputs"`
			} `json:"test_state"`
		}
		if json.Unmarshal([]byte(line), &event) != nil || event.Run != "two_groups_apart" || event.State.Outputs == nil {
			continue
		}
		outputs := event.State.Outputs
		if err := errors.Join(json.Unmarshal(outputs["control_plane_environment"].Value, &got.controlPlane),
			json.Unmarshal(outputs["agent_environments"].Value, &got.agents)); err != nil {
			t.Fatal(err)
		}
	}
	if len(got.controlPlane) == 0 || len(got.agents["prod"]) != 3 || len(got.agents["staging"]) != 3 {
		t.Fatalf("settings of the task definitions: %+v", got)
	}
	return got
}

const key = "shk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// TestTheBinariesTakeTheirSettings starts both real binaries with what the task definitions pass. They must get as far as the things they
// depend on, which are not there: a setting that they do not know, or that is out of bounds, ends them with a usage error before.
func TestTheBinariesTakeTheirSettings(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	got := rendered(t, s)
	// What they depend on refuses connections at once, instead of not being found by name after a while.
	got.controlPlane["STREAMHOUSE_DATABASE_URL"] = strings.Replace(got.controlPlane["STREAMHOUSE_DATABASE_URL"], "catalog.example.eu-west-1.rds.amazonaws.com:5432", "127.0.0.1:1", 1)
	for _, zones := range got.agents {
		for _, env := range zones {
			env["STREAMHOUSE_S3_ENDPOINT"] = "http://127.0.0.1:1"
		}
	}
	for name, c := range map[string]struct {
		binary  string
		env     map[string]string
		secrets map[string]string
		reaches string
	}{
		"control plane": {"streamhouse-controlplane", got.controlPlane, map[string]string{
			"PGPASSWORD": "secret", "STREAMHOUSE_BOOTSTRAP_ADMIN_KEY": key, "STREAMHOUSE_BOOTSTRAP_AGENT_KEYS": `{"prod":"` + key + `"}`,
		}, "catalog out of reach"},
		"agent of prod":    {"streamhouse-agent", got.agents["prod"]["eu-west-1a"], map[string]string{"STREAMHOUSE_AGENT_KEY": key}, "bucket is not usable yet"},
		"agent of staging": {"streamhouse-agent", got.agents["staging"]["eu-west-1c"], map[string]string{"STREAMHOUSE_AGENT_KEY": key}, "bucket is not usable yet"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, usage := until(t, filepath.Join(cluster.Binaries(t), c.binary), c.env, c.secrets, c.reaches)
			if usage {
				t.Errorf("the settings are refused: %s", out)
			} else if !strings.Contains(out, c.reaches) {
				t.Errorf("it did not get as far as %q: %s", c.reaches, out)
			}
			for name, secret := range c.secrets {
				if strings.Contains(out, secret) {
					t.Errorf("%s shows up in what it prints: %s", name, out)
				}
			}
		})
	}
}

// until runs a binary until it prints a text, or ends, and returns what it printed and whether it ended with a usage error.
func until(t *testing.T, binary string, env, secrets map[string]string, text string) (out string, usage bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, binary, "serve", "--listen", "127.0.0.1:0") // any port, in place of the one in the container
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "AWS_EC2_METADATA_DISABLED=true", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x"}
	for _, values := range []map[string]string{env, secrets} {
		for name, value := range values {
			command.Env = append(command.Env, name+"="+value)
		}
	}
	watched := &watched{text: text, found: cancel}
	command.Stdout, command.Stderr = watched, watched
	err := command.Run()
	exit, ended := errors.AsType[*exec.ExitError](err)
	return string(watched.out), ended && exit.ExitCode() == 2
}

// watched collects output, and tells once a text is in it. Only os/exec writes to it, from one goroutine, as both outputs are the same.
type watched struct {
	out   []byte
	text  string
	found func()
}

func (w *watched) Write(b []byte) (int, error) {
	w.out = append(w.out, b...)
	if strings.Contains(string(w.out), w.text) {
		w.found()
	}
	return len(b), nil
}
