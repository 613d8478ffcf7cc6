package kubernetes_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

const (
	agentName        = "streamhouse-agent"
	controlPlaneName = "streamhouse-controlplane"
	zoneLabel        = "topology.kubernetes.io/zone"
)

// agents are the Deployments of agents, by zone.
func (all *objects) agents() map[string]*appsv1.Deployment {
	found := map[string]*appsv1.Deployment{}
	for _, d := range all.deployments {
		if strings.HasPrefix(d.Name, agentName) {
			found[d.Spec.Template.Spec.NodeSelector[zoneLabel]] = d
		}
	}
	return found
}

// environment of the main container; what is no literal is empty.
func environment(d *appsv1.Deployment) map[string]string {
	values := map[string]string{}
	for _, v := range d.Spec.Template.Spec.Containers[0].Env {
		values[v.Name] = v.Value
	}
	return values
}

// TestEachZoneHasItsAgents: a Deployment a zone, on nodes of that zone alone, whose agents say that zone.
func TestEachZoneHasItsAgents(t *testing.T) {
	t.Parallel()
	agents := render(t, threeZones).agents()
	if zones := slices.Sorted(maps.Keys(agents)); !slices.Equal(zones, []string{"eu-west-1a", "eu-west-1b", "eu-west-1c"}) {
		t.Fatalf("agents in zones %v", zones)
	}
	for zone, d := range agents {
		if said := environment(d)["STREAMHOUSE_ZONE"]; said != zone {
			t.Errorf("%s runs in %s and says %q", d.Name, zone, said)
		}
		if label := d.Spec.Template.Labels["streamhouse/zone"]; label != zone {
			t.Errorf("%s runs in %s and is labelled %q", d.Name, zone, label)
		}
		if d.Spec.Replicas != nil {
			t.Errorf("%s says how many replicas it has: applying it would undo what the autoscaler did", d.Name)
		}
	}
}

// TestSelectorsMeanOneZone: each Deployment, Service, budget and autoscaler of a zone is about that zone's pods and no other's.
func TestSelectorsMeanOneZone(t *testing.T) {
	t.Parallel()
	all := render(t, threeZones)
	selected := func(name string, selector *metav1.LabelSelector) []string {
		t.Helper()
		s, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var found []string
		for _, d := range all.deployments {
			if s.Matches(labels.Set(d.Spec.Template.Labels)) {
				found = append(found, d.Name)
			}
		}
		return found
	}
	for _, d := range all.deployments {
		if found := selected(d.Name, d.Spec.Selector); !slices.Equal(found, []string{d.Name}) {
			t.Errorf("Deployment %s selects the pods of %v", d.Name, found)
		}
		for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
			if found := selected(d.Name, c.LabelSelector); !slices.Equal(found, []string{d.Name}) {
				t.Errorf("%s is spread together with %v", d.Name, found)
			}
		}
	}
	for _, b := range all.budgets {
		if found := selected(b.Name, b.Spec.Selector); !slices.Equal(found, []string{b.Name}) {
			t.Errorf("PodDisruptionBudget %s is about %v", b.Name, found)
		}
		if b.Spec.MaxUnavailable == nil || b.Spec.MaxUnavailable.IntValue() != 1 {
			t.Errorf("PodDisruptionBudget %s lets %v go at once", b.Name, b.Spec.MaxUnavailable)
		}
	}
	for _, s := range all.services {
		found := selected(s.Name, metav1.SetAsLabelSelector(s.Spec.Selector))
		if want := []string{s.Name}; s.Name != "streamhouse-agents" && !slices.Equal(found, want) {
			t.Errorf("Service %s leads to %v", s.Name, found)
		} else if s.Name == "streamhouse-agents" && len(found) != 3 {
			t.Errorf("Service %s leads to %v", s.Name, found)
		}
	}
	if len(all.budgets) != 4 || len(all.services) != 5 || len(all.scalers) != 3 {
		t.Errorf("%d budgets, %d services, %d autoscalers", len(all.budgets), len(all.services), len(all.scalers))
	}
}

// TestEachZoneScalesByItself: on the exported signal, within bounds.
func TestEachZoneScalesByItself(t *testing.T) {
	t.Parallel()
	all := render(t, threeZones)
	targets := map[string]bool{}
	for _, s := range all.scalers {
		targets[s.Spec.ScaleTargetRef.Name] = true
		if s.Spec.MinReplicas == nil || *s.Spec.MinReplicas < 2 || s.Spec.MaxReplicas <= *s.Spec.MinReplicas {
			t.Errorf("%s: from %v to %d: a zone with one agent reads across zones when it is replaced", s.Name, s.Spec.MinReplicas, s.Spec.MaxReplicas)
		}
		if len(s.Spec.Metrics) != 1 || s.Spec.Metrics[0].Pods == nil || s.Spec.Metrics[0].Pods.Metric.Name != "streamhouse_agent_utilization_ratio" {
			t.Errorf("%s scales on %+v", s.Name, s.Spec.Metrics)
			continue
		}
		if v := s.Spec.Metrics[0].Pods.Target.AverageValue; v == nil || v.Cmp(resource.MustParse("0.3")) < 0 || v.Cmp(resource.MustParse("0.8")) > 0 {
			t.Errorf("%s wants agents to use %v of their capacity", s.Name, v)
		}
	}
	for _, d := range all.agents() {
		if !targets[d.Name] {
			t.Errorf("nothing scales %s", d.Name)
		}
	}
}

// TestPodsHaveTimeToDrain: what the pod is given before it is killed exceeds what its stop may take.
func TestPodsHaveTimeToDrain(t *testing.T) {
	t.Parallel()
	const reserve = 10 * time.Second // to say good-bye, and export the last metrics
	for _, d := range render(t, threeZones).deployments {
		spec := d.Spec.Template.Spec
		hook := spec.Containers[0].Lifecycle
		if hook == nil || hook.PreStop == nil || hook.PreStop.Sleep == nil || hook.PreStop.Sleep.Seconds < 1 {
			t.Errorf("%s: a pod stops before its Services have forgotten it", d.Name)
			continue
		}
		needed := time.Duration(hook.PreStop.Sleep.Seconds)*time.Second + reserve
		env := environment(d)
		for _, name := range []string{"STREAMHOUSE_DRAIN_DEADLINE", "STREAMHOUSE_STOP_TIMEOUT"} {
			if name == "STREAMHOUSE_DRAIN_DEADLINE" && d.Name == controlPlaneName {
				continue
			}
			value, err := time.ParseDuration(env[name])
			if err != nil {
				t.Errorf("%s: %s is %q: the sum must not hang on a default", d.Name, name, env[name])
			}
			needed += value
		}
		if grace := spec.TerminationGracePeriodSeconds; grace == nil || time.Duration(*grace)*time.Second < needed {
			t.Errorf("%s is killed after %v s, and may need %v", d.Name, grace, needed)
		}
	}
}

// TestAgentsHaveRoom: three times the buffers and one and a half times the cache fit into what Go may use, and that into the container.
func TestAgentsHaveRoom(t *testing.T) {
	t.Parallel()
	for _, d := range render(t, threeZones).agents() {
		env := environment(d)
		size := func(name string) int64 {
			n, err := strconv.ParseInt(env[name], 10, 64)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return n
		}
		limit := d.Spec.Template.Spec.Containers[0].Resources.Limits.Memory().Value()
		soft := resource.MustParse(strings.TrimSuffix(env["GOMEMLIMIT"], "B")) // MiB is Mi
		if needed := 3*size("STREAMHOUSE_MAX_BUFFERED_BYTES") + size("STREAMHOUSE_CACHE_BYTES")*3/2; needed > soft.Value() {
			t.Errorf("%s may need %d bytes, GOMEMLIMIT is %d", d.Name, needed, soft.Value())
		}
		if soft.Value() > limit/10*9 {
			t.Errorf("%s: GOMEMLIMIT is %d of %d", d.Name, soft.Value(), limit)
		}
	}
}

// TestPodsMayDoLittle: no root, no capabilities, no writing to the root folder, no token of the cluster's API.
func TestPodsMayDoLittle(t *testing.T) {
	t.Parallel()
	for _, d := range render(t, threeZones).deployments {
		spec := d.Spec.Template.Spec
		if s := spec.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser != 65532 ||
			s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: %+v", d.Name, s)
		}
		if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
			t.Errorf("%s gets a token of the cluster's API", d.Name)
		}
		for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
			s := c.SecurityContext
			if s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
				s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
				t.Errorf("%s, %s: %+v", d.Name, c.Name, s)
			}
		}
	}
}

// TestProbesAskTheRightQuestion: a restart helps a process that hangs, and none whose database or bucket is away.
func TestProbesAskTheRightQuestion(t *testing.T) {
	t.Parallel()
	for _, d := range render(t, threeZones).deployments {
		c := d.Spec.Template.Spec.Containers[0]
		for path, probe := range map[string]*corev1.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
			if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "http" {
				t.Errorf("%s asks %+v where it should ask %s", d.Name, probe, path)
			}
		}
		if len(c.Ports) != 1 || c.Ports[0].Name != "http" || c.Ports[0].ContainerPort != 8080 {
			t.Errorf("%s: ports %+v", d.Name, c.Ports)
		}
	}
}

// TestTheControlPlaneSpreadsAndMigrates: over zones, and no new replica serves before the schema is up to date.
func TestTheControlPlaneSpreadsAndMigrates(t *testing.T) {
	t.Parallel()
	for _, d := range render(t, threeZones).deployments {
		if d.Name != controlPlaneName {
			continue
		}
		if d.Spec.Replicas == nil || *d.Spec.Replicas < 3 {
			t.Errorf("%v replicas for three zones", d.Spec.Replicas)
		}
		if !slices.ContainsFunc(d.Spec.Template.Spec.TopologySpreadConstraints, func(c corev1.TopologySpreadConstraint) bool { return c.TopologyKey == zoneLabel }) {
			t.Error("it does not spread over zones")
		}
		first := d.Spec.Template.Spec.InitContainers
		if len(first) != 1 || !slices.Equal(first[0].Args, []string{"migrate"}) || first[0].Image != d.Spec.Template.Spec.Containers[0].Image ||
			environment(d)["STREAMHOUSE_MIGRATE_ON_START"] != "false" {
			t.Errorf("before it serves: %+v", first)
		}
		return
	}
	t.Error("there is no control plane")
}

// TestEverythingIsInOneNamespaceWithItsParts: accounts and configuration that pods name exist under that name.
func TestEverythingIsInOneNamespaceWithItsParts(t *testing.T) {
	t.Parallel()
	all := render(t, threeZones)
	accounts, configs := map[string]bool{}, map[string]bool{}
	for _, a := range all.accounts {
		accounts[a.Name] = true
	}
	for _, c := range all.configs {
		configs[c.Name] = true
	}
	for _, d := range all.deployments {
		if d.Namespace != all.namespaces[0].Name {
			t.Errorf("%s is in namespace %q", d.Name, d.Namespace)
		}
		if !accounts[d.Spec.Template.Spec.ServiceAccountName] {
			t.Errorf("%s has the account %q, there are %v", d.Name, d.Spec.Template.Spec.ServiceAccountName, accounts)
		}
		for _, from := range d.Spec.Template.Spec.Containers[0].EnvFrom {
			if from.ConfigMapRef == nil || !configs[from.ConfigMapRef.Name] {
				t.Errorf("%s takes settings from %+v, there are %v", d.Name, from, configs)
			}
		}
		if image := d.Spec.Template.Spec.Containers[0].Image; !strings.HasPrefix(image, "registry.example.com/") {
			t.Errorf("%s runs %s: the overlay's images do not arrive", d.Name, image)
		}
	}
}
