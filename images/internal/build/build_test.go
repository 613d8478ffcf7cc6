package build_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"debug/elf"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/streamhouse/streamhouse/images/internal/build"
	"github.com/streamhouse/streamhouse/images/internal/oci"
)

const version = "v1.2.3-test"

// TestImages are made as people make them, by the command: the race detector, which a test's own code has, would have each of them compressed for a minute.
func TestImages(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("compiles both services")
	}
	checkout, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	made := images(t, checkout)
	t.Run("are reproducible", func(t *testing.T) { reproducible(t, checkout, made) })
	t.Run("hold what they need and nothing else", func(t *testing.T) { minimal(t, made) })
}

// images of a checkout, for this machine's kind of processor, as folders in the folder that it returns.
func images(t *testing.T, checkout string, env ...string) (out string) {
	t.Helper()
	out = t.TempDir()
	command := exec.CommandContext(t.Context(), "go", "run", "-buildvcs=false", "./images/cmd/images",
		"-out", out, "-version", version, "-created", "1700000000", "-platforms", "linux/"+runtime.GOARCH)
	command.Dir, command.Env = checkout, append(os.Environ(), env...)
	if printed, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	return out
}

// reproducible builds each image once more from a folder with another name, at a different time, as somebody else would. Each must come out with one
// digest. With STREAMHOUSE_PROVE=1 somebody else has not even what Go compiled before.
func reproducible(t *testing.T, checkout, made string) {
	var env []string
	if os.Getenv("STREAMHOUSE_PROVE") != "" {
		env = append(env, "GOCACHE="+t.TempDir())
	}
	elsewhere := images(t, copyOf(t, checkout), env...)
	for _, program := range build.Programs {
		first, second := index(t, made, program), index(t, elsewhere, program)
		if first != second {
			t.Errorf("%s differs:\n%s\n%s", program.Name, first, second)
		}
		t.Logf("%s: %s", program.Name, first)
	}
}

// index of an image: the one file that is not named by its digest, and names all others.
func index(t *testing.T, dir string, program build.Program) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, program.Name, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// copyOf copies what is compiled to a folder of another name.
func copyOf(t *testing.T, source string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "elsewhere")
	err := filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(source, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if relative != "." && (entry.Name()[0] == '.' || relative == "bin" || entry.Name() == "node_modules") {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, relative), 0o750)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(filepath.Join(to, relative), b, 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// minimal: one static program and the roots, no shell, no user but a number; and the program runs with these files as its whole world.
func minimal(t *testing.T, made string) {
	for _, program := range build.Programs {
		found, err := oci.Verify(filepath.Join(made, program.Name))
		if err != nil {
			t.Fatal(err)
		}
		p := found.Platforms[0]
		if len(p.Files) != 2 || p.Files["/"+program.Name] == 0 || p.Files["/etc/ssl/certs/ca-certificates.crt"] == 0 {
			t.Errorf("%s holds %v", program.Name, p.Files)
		}
		if p.User != "65532:65532" || len(p.Entrypoint) != 1 || p.Entrypoint[0] != "/"+program.Name || found.Tag != version {
			t.Errorf("%s is %+v", program.Name, found)
		}
		if strings.Join(p.Health, " ") != "CMD /"+program.Name+" healthcheck" {
			t.Errorf("%s asks %v whether it is well", program.Name, p.Health)
		}
		binary := unpacked(t, filepath.Join(made, program.Name), program.Name)
		static(t, binary)
		runAlone(t, filepath.Dir(binary), "/"+program.Name)
	}
}

// static fails if the program wants a loader or a library, which an image from scratch has not.
func static(t *testing.T, binary string) {
	t.Helper()
	f, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, segment := range f.Progs {
		if segment.Type == elf.PT_INTERP || segment.Type == elf.PT_DYNAMIC {
			t.Errorf("%s is linked dynamically", binary)
		}
	}
}

// unpacked writes the root folder of an image, and returns the path of its program.
func unpacked(t *testing.T, dir, program string) string {
	t.Helper()
	root := t.TempDir()
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, blob := range blobs {
		b, err := os.ReadFile(blob)
		if err != nil {
			t.Fatal(err)
		}
		if zip, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
			unpack(t, tar.NewReader(zip), root)
		}
	}
	return filepath.Join(root, program)
}

func unpack(t *testing.T, archive *tar.Reader, root string) {
	t.Helper()
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, filepath.Clean("/"+header.Name))
		if header.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o750)
		} else {
			b, readErr := io.ReadAll(archive)
			err = errors.Join(readErr, os.WriteFile(path, b, header.FileInfo().Mode()))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestRootsAreCertificates(t *testing.T) {
	t.Parallel()
	roots, err := build.Roots(nil)
	if err != nil {
		t.Fatal(err)
	}
	if pool := x509.NewCertPool(); !pool.AppendCertsFromPEM(roots) || len(pool.Subjects()) < 100 { //nolint:staticcheck // of a pool that is not the system's
		t.Errorf("the roots are too few: %d", len(pool.Subjects())) //nolint:staticcheck // as above
	}
	with, err := build.Roots(roots[:bytes.Index(roots[1:], []byte("-----BEGIN"))+1])
	if err != nil || len(with) <= len(roots) {
		t.Errorf("an extra root: %d bytes after %d, %v", len(with), len(roots), err)
	}
	for _, bad := range []string{"hello", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"} {
		if _, err := build.Roots([]byte(bad)); err == nil {
			t.Errorf("%q passes for a root", bad)
		}
	}
}
