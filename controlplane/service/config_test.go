package service_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/serve/config"
	"github.com/streamhouse/streamhouse/serve/secret"

	"github.com/streamhouse/streamhouse/controlplane/service"
)

func quiet(t *testing.T) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelError}))
}

// TestDefaultsAreThoseOfTheFlags compares DefaultConfig with what --help shows.
func TestDefaultsAreThoseOfTheFlags(t *testing.T) {
	type settings service.Config // without Validate, as in cmd
	var cli struct {
		Settings settings `embed:""`
	}
	var out bytes.Buffer
	if _, err := config.Parse(config.Program{Name: "x", Stdout: &out}, &cli, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := service.Config(cli.Settings), service.DefaultConfig(); !reflect.DeepEqual(got, want) {
		t.Errorf("flags say\n%+v, DefaultConfig\n%+v", got, want)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := service.DefaultConfig()
	good.DatabaseURL = secret.New("postgres://u:hunter2@db:5432/x")
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for says, change := range map[string]func(*service.Config){
		"database-url: required": func(c *service.Config) { c.DatabaseURL = secret.Secret{} },
		"database-url: must be":  func(c *service.Config) { c.DatabaseURL = secret.New("mysql://u:hunter2@db/x") },
		"database-url: must":     func(c *service.Config) { c.DatabaseURL = secret.New("hunter2\x7f") },
		"advertised-address":     func(c *service.Config) { c.AdvertisedAddress = "10.0.0.1:8080" },
		"pool-size":              func(c *service.Config) { c.PoolSize = 0 },
		"session-duration":       func(c *service.Config) { c.SessionDuration = 0 },
		"heartbeat-interval":     func(c *service.Config) { c.HeartbeatInterval = 20 * time.Second },
		"suspect-after":          func(c *service.Config) { c.SuspectAfter = 0 },
		"watch-interval":         func(c *service.Config) { c.WatchInterval = 0 },
		"retention-interval":     func(c *service.Config) { c.RetentionInterval = time.Millisecond },
		"producer-expiry":        func(c *service.Config) { c.ProducerExpiry = time.Minute },
		"bootstrap-admin-key":    func(c *service.Config) { c.BootstrapAdminKey = secret.New("hunter2") },
		"bootstrap-agent-keys":   func(c *service.Config) { c.BootstrapAgentKeys = secret.New(`{"default":"hunter2"}`) },
		"agent-groups":           func(c *service.Config) { c.AgentGroups = []string{"a/b"} },
		"listen":                 func(c *service.Config) { c.Listener.Listen = "nowhere" },
	} {
		bad := good
		change(&bad)
		err := bad.Validate()
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
		if strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("shows the secret: %v", err)
		}
	}
}

func TestNewRefusesABadConfiguration(t *testing.T) {
	t.Parallel()
	if _, err := service.New(t.Context(), service.Config{}, service.Deps{}); err == nil {
		t.Error("the zero configuration must not be valid")
	}
}
