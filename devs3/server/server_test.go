package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func config(t *testing.T) Config {
	return Config{Listen: "127.0.0.1:0", DataDir: t.TempDir(), Bucket: "test-bucket", AccessKey: "access", SecretKey: "not-to-be-seen"}
}

// The port is chosen before the server can listen on it; losing it to another process costs another choice.
// Not parallel: one server a process.
func TestPortLostToAnotherIsChosenAgain(t *testing.T) {
	var listen net.ListenConfig
	other, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	choices := 0
	lose := func(ctx context.Context, address string) (string, bool, error) {
		choices++
		if choices < 3 {
			return other.Addr().String(), true, nil
		}
		return pickAddress(ctx, address)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := 0
	err = run(ctx, config(t), func(endpoint string) {
		ready++
		if err := CheckHealth(ctx, endpoint); err != nil {
			t.Error(err)
		}
		cancel()
	}, lose)
	if err != nil || choices != 3 || ready != 1 {
		t.Errorf("%v after %d choices, ready %d times", err, choices, ready)
	}

	asked := config(t)
	asked.Listen = other.Addr().String()
	if err := Run(t.Context(), asked, nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port that was asked for: %v", err)
	}
}

// A folder stays with the kind of metadata that it began with.
func TestMetadataIsDetected(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sideCar := filepath.Join(dir, "metadata")
	if err := os.Mkdir(sideCar, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := detectMetadata(dir, sideCar); got != MetadataSideCar {
		t.Errorf("beside a side-car: %s", got)
	}
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("no file system without extended attributes at hand")
	}
	if got := detectMetadata("/proc/self", filepath.Join(dir, "none")); got != MetadataSideCar {
		t.Errorf("without extended attributes: %s", got)
	}
}

func TestSecretIsSilent(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	encoded, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{
		fmt.Sprintf("%v %+v %#v %s %q %x %d", cfg, cfg, cfg, cfg.SecretKey, cfg.SecretKey, cfg.SecretKey, cfg.SecretKey), string(encoded),
	} {
		if strings.Contains(shown, "not-to-be-seen") || strings.Contains(shown, fmt.Sprintf("%x", "not-to-be-seen")) {
			t.Error(shown)
		}
	}
}
