// Package kubernetes_test checks the manifests in deploy/kubernetes without a cluster: they are rendered by kustomize's own library, decoded strictly
// into the types of the Kubernetes API, and asked for what matters: an agent is in the zone that it says, time to drain, room in memory, budgets and
// autoscalers that mean what they seem to. The settings that they pass are given to the real binaries.
// Read: render_test.go, manifests_test.go, settings_test.go.
package kubernetes_test

import (
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// objects of a rendered overlay, by kind.
type objects struct {
	deployments []*appsv1.Deployment
	services    []*corev1.Service
	scalers     []*autoscalingv2.HorizontalPodAutoscaler
	budgets     []*policyv1.PodDisruptionBudget
	accounts    []*corev1.ServiceAccount
	configs     []*corev1.ConfigMap
	namespaces  []*corev1.Namespace
}

const threeZones = "overlays/three-zones"

// render builds an overlay as `kubectl kustomize` does, and decodes each object strictly: an unknown, misspelled or repeated field is an error.
func render(t *testing.T, overlay string) *objects {
	t.Helper()
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join("..", "..", "deploy", "kubernetes", overlay))
	if err != nil {
		t.Fatal(err)
	}
	all := &objects{}
	for _, resource := range rendered.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		object, err := decode(t, text)
		if err != nil {
			t.Errorf("%s: %v", resource.CurId(), err)
			continue
		}
		all.add(t, object)
	}
	return all
}

func decode(t *testing.T, text []byte) (runtime.Object, error) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, autoscalingv2.AddToScheme, corev1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	object, _, err := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true}).Decode(text, nil, nil)
	return object, err
}

func (all *objects) add(t *testing.T, object runtime.Object) {
	t.Helper()
	switch o := object.(type) {
	case *appsv1.Deployment:
		all.deployments = append(all.deployments, o)
	case *corev1.Service:
		all.services = append(all.services, o)
	case *autoscalingv2.HorizontalPodAutoscaler:
		all.scalers = append(all.scalers, o)
	case *policyv1.PodDisruptionBudget:
		all.budgets = append(all.budgets, o)
	case *corev1.ServiceAccount:
		all.accounts = append(all.accounts, o)
	case *corev1.ConfigMap:
		all.configs = append(all.configs, o)
	case *corev1.Namespace:
		all.namespaces = append(all.namespaces, o)
	default:
		t.Errorf("nothing here looks at a %T", object)
	}
}

// TestDecodingIsStrict: the tests here are worth what the decoder refuses.
func TestDecodingIsStrict(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"unknown field":    "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selectors: {a: b}}\n",
		"wrong case":       "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {Selector: {a: b}}\n",
		"repeated field":   "apiVersion: v1\nkind: Service\nmetadata: {name: a, name: b}\n",
		"wrong type":       "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: 8080}\n",
		"kind of another":  "apiVersion: apps/v1\nkind: Service\nmetadata: {name: a}\n",
		"version long ago": "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: a}\n",
	} {
		if object, err := decode(t, []byte(text)); err == nil {
			t.Errorf("%s: passes for %+v", name, object)
		}
	}
	if _, err := decode(t, []byte("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {a: b}}\n")); err != nil {
		t.Error(err)
	}
}
