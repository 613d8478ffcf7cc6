package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/streamhouse/streamhouse/images/internal/oci"
)

// compile builds one program and returns it: static, without symbol table (stack traces and profiles do without), and without a word about the
// folder, the user or the time of the build.
func compile(ctx context.Context, source, pkg, version string, on oci.Platform) (binary []byte, err error) {
	dir, err := os.MkdirTemp("", "streamhouse-images-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	out := filepath.Join(dir, "program")
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.version="+version, "-o", out, pkg)
	command.Dir = source
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+on.OS, "GOARCH="+on.Architecture, "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=")
	if output, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(output))
	}
	return os.ReadFile(out)
}
