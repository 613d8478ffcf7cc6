package zone

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func task(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v4/abc/task" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(answer))
	}
}

// instance is the second version of the service: no answer without a token.
func instance(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") != "":
		_, _ = w.Write([]byte("secret"))
	case r.URL.Path == "/latest/meta-data/placement/availability-zone" && r.Header.Get("X-Aws-Ec2-Metadata-Token") == "secret":
		_, _ = w.Write([]byte("eu-west-1b\n"))
	default:
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func TestSourcesAreAskedInTurn(t *testing.T) {
	t.Parallel()
	ecs := serve(t, task(`{"Cluster": "x", "AvailabilityZone": "eu-west-1a"}`)) + "/v4/abc"
	mute := serve(t, task(`{"Cluster": "x"}`)) + "/v4/abc"
	ec2 := serve(t, instance)
	for name, c := range map[string]struct {
		sources Sources
		zone    string
		fault   bool
	}{
		"none":                              {Sources{}, Default, false},
		"task":                              {Sources{Task: ecs, Instance: ec2}, "eu-west-1a", false},
		"instance":                          {Sources{Instance: ec2}, "eu-west-1b", false},
		"a task that does not say":          {Sources{Task: mute, Instance: ec2}, "eu-west-1b", false},
		"a task that does not say, alone":   {Sources{Task: mute}, Default, true},
		"an instance that has no such path": {Sources{Instance: ecs}, Default, true},
		"nobody there":                      {Sources{Task: "http://127.0.0.1:1"}, Default, true},
		"nonsense": {Sources{Instance: serve(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<html>"))
		})}, Default, true},
	} {
		zone, err := c.sources.Find(t.Context())
		if zone != c.zone || (err != nil) != c.fault {
			t.Errorf("%s: %q, %v", name, zone, err)
		}
	}
}

func TestASilentSourceCostsAMoment(t *testing.T) {
	t.Parallel()
	silent := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	began := time.Now()
	if zone, err := (Sources{Instance: silent}).Find(t.Context()); zone != Default || err == nil {
		t.Errorf("%q, %v", zone, err)
	}
	if took := time.Since(began); took > 5*askTimeout {
		t.Errorf("took %v", took)
	}
}

func TestOnlyAMachineOfEC2IsOne(t *testing.T) {
	t.Parallel()
	sys := t.TempDir()
	if onEC2(sys) {
		t.Error("an unknown machine is taken for one")
	}
	file := filepath.Join(sys, "class/dmi/id/sys_vendor")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	for vendor, want := range map[string]bool{"QEMU\n": false, "Amazon EC2\n": true} {
		if err := os.WriteFile(file, []byte(vendor), 0o600); err != nil {
			t.Fatal(err)
		}
		if onEC2(sys) != want {
			t.Errorf("%q: want %v", vendor, want)
		}
	}
}
