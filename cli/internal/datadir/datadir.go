// Package datadir is the folder of one `streamhouse dev`: who owns it now, which ports and secrets its parts have, which processes were
// started for it, and dev.json, by which other commands and programs find the running cluster.
// Files with secrets are readable by their owner alone. Nothing here starts or talks to a process.
// Read: datadir.go, devfile.go, lock.go, state.go.
package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// DefaultName is the folder's name where no other is given.
const DefaultName = ".streamhouse"

// Dir is the folder.
type Dir struct{ path string }

// At names the folder at path; it need not exist.
func At(path string) (Dir, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return Dir{}, fmt.Errorf("find data dir: %w", err)
	}
	return Dir{path: absolute}, nil
}

// Find returns the nearest folder of the default name in dir or above it that a dev has used; false: there is none.
func Find(dir string) (Dir, bool) {
	dir, err := filepath.Abs(dir)
	for err == nil {
		candidate := Dir{path: filepath.Join(dir, DefaultName)}
		if _, err := os.Stat(candidate.lockFile()); err == nil {
			return candidate, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	return Dir{}, false
}

// Create makes what is missing of the folder. As root the folder can be passed through by everyone, since some servers refuse to run as
// root; what is in it has modes of its own.
func (d Dir) Create() error {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return fmt.Errorf("create data dir: %w", err)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(d.path)
	if err == nil {
		err = os.Chmod(d.path, info.Mode().Perm()|0o111)
	}
	if err != nil {
		return fmt.Errorf("open data dir to servers that refuse root: %w", err)
	}
	return nil
}

// Path of the folder, absolute.
func (d Dir) Path() string { return d.path }

// Join returns a path below the folder.
func (d Dir) Join(names ...string) string {
	return filepath.Join(append([]string{d.path}, names...)...)
}

// Log is the log file of a part.
func (d Dir) Log(part string) string { return d.Join("logs", part+".log") }

// readJSON leaves into alone if there is no such file.
func readJSON(path string, into any) error {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// writeJSON replaces the file in one step: readers see the old content or the new one, whole.
func writeJSON(path string, value any) error {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	fresh, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = fresh.Write(append(content, '\n'))
	err = errors.Join(err, fresh.Sync(), fresh.Close())
	if err == nil {
		err = os.Rename(fresh.Name(), path)
	}
	if err != nil {
		_ = os.Remove(fresh.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
