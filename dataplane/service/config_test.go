package service

import (
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/config"
	"github.com/streamhouse/streamhouse/serve/secret"
)

func valid() Config {
	c := DefaultConfig()
	c.ControlPlane, c.AgentKey, c.S3Bucket = []string{"http://127.0.0.1:1"}, access.NewKey(), "bucket"
	return c
}

func TestDefaultsAreThoseOfTheFlags(t *testing.T) {
	t.Parallel()
	type settings Config
	var parsed struct {
		Settings settings `embed:""`
		Serve    struct{} `cmd:"" default:"1"`
	}
	if _, err := config.Parse(config.Program{Name: "agent", Stdout: io.Discard}, &parsed, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := Config(parsed.Settings), DefaultConfig(); !reflect.DeepEqual(got, want) {
		t.Fatalf("flags say\n%+v, DefaultConfig says\n%+v", got, want)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := valid().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"agent-id":           func(c *Config) { c.AgentID = "a/b" },
		"zone":               func(c *Config) { c.Zone = "a/b" },
		"capacity":           func(c *Config) { c.Capacity = 0 },
		"otlp-endpoint":      func(c *Config) { c.Telemetry.OTLPEndpoint = "nowhere" },
		"agent-group":        func(c *Config) { c.AgentGroup = "A" },
		"advertised-address": func(c *Config) { c.AdvertisedAddress = "host:1" },
		"control-plane":      func(c *Config) { c.ControlPlane = nil },
		"agent-key":          func(c *Config) { c.AgentKey = secret.New("shk_short") },
		"s3-bucket":          func(c *Config) { c.S3Bucket = "" },
		"s3-access-key":      func(c *Config) { c.S3AccessKey = "x" },
		"max-object-bytes":   func(c *Config) { c.MaxObjectBytes = 1 },
		"max-buffered-bytes": func(c *Config) { c.MaxBufferedBytes = 1 << 20 },
		"max-uploads":        func(c *Config) { c.MaxUploads = 0 },
		"puts-per-second":    func(c *Config) { c.PutsPerSecond = 0 },
		"put-burst":          func(c *Config) { c.PutBurst = 0 },
		"verify":             func(c *Config) { c.Verify = "none" },
		"cache-bytes":        func(c *Config) { c.CacheBytes = 0 },
		"linger":             func(c *Config) { c.Linger = -1 },
		"lookup-interval":    func(c *Config) { c.LookupInterval = time.Hour },
		"produce-timeout":    func(c *Config) { c.ProduceTimeout = 0 },
		"drain-deadline":     func(c *Config) { c.DrainDeadline = 0 },
		"drain-linger":       func(c *Config) { c.DrainLinger = -1 },
		"listen":             func(c *Config) { c.Listener.Listen = "nonsense" },
	} {
		c := valid()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestAgentIDComesFromTheHost(t *testing.T) {
	t.Parallel()
	id, err := DefaultConfig().agentID()
	if err != nil || !namePattern.MatchString(id) {
		t.Fatalf("%q, %v", id, err)
	}
	if id, _ := (Config{AgentID: "x"}).agentID(); id != "x" {
		t.Fatal(id)
	}
}
