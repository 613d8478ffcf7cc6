package kubernetes_test

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/process"
)

const key = "shk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// TestTheBinariesTakeTheirSettings starts both real binaries with what the manifests pass. They must get as far as the things they depend on, which are
// not there: a setting that they do not know, or that is out of bounds, ends them with a usage error before.
func TestTheBinariesTakeTheirSettings(t *testing.T) {
	t.Parallel()
	all := render(t, threeZones)
	secrets := map[string]string{ // what the manifests take from Secrets, by variable
		"STREAMHOUSE_DATABASE_URL": "postgres://streamhouse:secret@127.0.0.1:1/streamhouse", "STREAMHOUSE_BOOTSTRAP_ADMIN_KEY": key,
		"STREAMHOUSE_BOOTSTRAP_AGENT_KEYS": `{"default":"` + key + `"}`, "STREAMHOUSE_AGENT_KEY": key,
	}
	for _, d := range all.deployments {
		if d.Name != controlPlaneName && d.Name != agentName+"-a" {
			continue // the other zones differ in the zone's name
		}
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			binary, reaches := "streamhouse-controlplane", "catalog out of reach"
			if d.Name != controlPlaneName {
				binary, reaches = "streamhouse-agent", "bucket is not usable yet"
			}
			out, usage := process.Until(t, filepath.Join(cluster.Binaries(t), binary), reaches, all.settings(t, d, secrets))
			if usage || !strings.Contains(out, reaches) {
				t.Errorf("it did not get as far as %q: %s", reaches, out)
			}
		})
	}
}

// settings are what a pod of the Deployment has in its environment, as the kubelet would make it.
func (all *objects) settings(t *testing.T, d *appsv1.Deployment, secrets map[string]string) map[string]string {
	t.Helper()
	container := d.Spec.Template.Spec.Containers[0]
	values := map[string]string{}
	for _, from := range container.EnvFrom {
		for _, config := range all.configs {
			if config.Name == from.ConfigMapRef.Name {
				maps.Copy(values, config.Data)
			}
		}
	}
	for _, v := range container.Env {
		switch from := v.ValueFrom; {
		case from == nil:
			values[v.Name] = expand(v.Value, values)
		case from.FieldRef != nil:
			values[v.Name] = map[string]string{"status.podIP": "192.0.2.1", "metadata.name": "agent-1"}[from.FieldRef.FieldPath]
		case from.SecretKeyRef != nil:
			values[v.Name] = secrets[v.Name]
		}
		if values[v.Name] == "" {
			t.Errorf("%s: %s has no value", d.Name, v.Name)
		}
	}
	if d.Name != controlPlaneName {
		values["STREAMHOUSE_S3_ENDPOINT"] = "http://127.0.0.1:1" // what is not there refuses at once
	}
	return values
}

// expand replaces $(NAME) by variables that stand before.
func expand(value string, values map[string]string) string {
	for name, v := range values {
		value = strings.ReplaceAll(value, "$("+name+")", v)
	}
	return value
}
