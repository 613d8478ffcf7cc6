package s3test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// binaryPath finds or builds the server once per test process.
var binaryPath = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("STREAMHOUSE_DEVS3_BIN"); path != "" {
		return filepath.Abs(path)
	}
	_, here, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(here) {
		return "", errors.New("built without source paths: set STREAMHOUSE_DEVS3_BIN")
	}
	root := filepath.Join(filepath.Dir(here), "..", "..", "..", "..")
	sources, binary := filepath.Join(root, "devs3"), filepath.Join(root, "bin", "streamhouse-devs3")
	if fresh(binary, sources) {
		return binary, nil
	}
	return binary, build(binary, sources)
})

// fresh tells whether binary is newer than every source file of its module.
func fresh(binary, sources string) bool {
	info, err := os.Stat(binary)
	if err != nil {
		return false
	}
	newest, err := newestSource(sources)
	return err == nil && info.ModTime().After(newest)
}

func newestSource(dir string) (newest time.Time, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		name := filepath.Base(path)
		if err != nil || entry.IsDir() || strings.HasSuffix(name, "_test.go") {
			return err
		}
		if filepath.Ext(name) != ".go" && name != "go.mod" && name != "go.sum" {
			return nil
		}
		info, err := entry.Info()
		if err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
		return err
	})
	return newest, err
}

// build writes to a name of its own first: other test processes may build or run the same file.
func build(binary, sources string) error {
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return err
	}
	own := fmt.Sprintf("%s.%d", binary, os.Getpid())
	defer os.Remove(own)
	cmd := exec.Command("go", "build", "-o", own, "./cmd/streamhouse-devs3")
	cmd.Dir = sources
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build streamhouse-devs3: %w: %s", err, out)
	}
	return os.Rename(own, binary)
}
