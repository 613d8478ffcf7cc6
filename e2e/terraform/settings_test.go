package terraform_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/process"
)

// settings are what the task definitions of one cluster pass.
type settings struct {
	controlPlane map[string]string
	agents       map[string]map[string]map[string]string // by agent group and zone
}

// rendered takes the settings from the outputs of the run with two agent groups.
func (o *outcome) rendered(t *testing.T) (got settings) {
	t.Helper()
	outputs := o.runs[testFile(group)]["two_groups_apart"].outputs
	if err := errors.Join(json.Unmarshal(outputs["control_plane_environment"], &got.controlPlane),
		json.Unmarshal(outputs["agent_environments"], &got.agents)); err != nil {
		t.Fatal(err)
	}
	if len(got.controlPlane) == 0 || len(got.agents["prod"]) != 3 || len(got.agents["staging"]) != 3 {
		t.Fatalf("settings of the task definitions: %+v", got)
	}
	return got
}

const key = "shk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// settings starts both real binaries with what the task definitions pass. They must get as far as the things they
// depend on, which are not there: a setting that they do not know, or that is out of bounds, ends them with a usage error before.
func (o *outcome) settings(t *testing.T) {
	got := o.rendered(t)
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
			out, usage := process.Until(t, filepath.Join(cluster.Binaries(t), c.binary), c.reaches, c.env, c.secrets)
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
