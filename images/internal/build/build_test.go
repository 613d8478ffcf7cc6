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
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/images/internal/build"
	"github.com/streamhouse/streamhouse/images/internal/oci"
)

const version = "v1.2.3-test"

func options(t *testing.T, source string) build.Options {
	t.Helper()
	if testing.Short() {
		t.Skip("compiles both services")
	}
	return build.Options{
		Source: source, Out: t.TempDir(), Version: version, Created: time.Unix(1_700_000_000, 0),
		Platforms: []oci.Platform{{OS: "linux", Architecture: runtime.GOARCH}},
	}
}

// TestImagesAreReproducible builds each image from two folders with different names, at different times, as two people would. Each must come out
// with one digest.
func TestImagesAreReproducible(t *testing.T) {
	t.Parallel()
	here := options(t, filepath.Join("..", "..", ".."))
	there := options(t, copyOf(t, here.Source))
	for _, program := range build.Programs {
		first, err := build.Build(t.Context(), program, here)
		if err != nil {
			t.Fatal(err)
		}
		second, err := build.Build(t.Context(), program, there)
		if err != nil {
			t.Fatal(err)
		}
		if first.Digest != second.Digest {
			t.Errorf("%s has digests %s and %s", program.Name, first.Digest, second.Digest)
		}
		t.Logf("%s: %s, %.1f MB", program.Name, first.Digest, float64(first.Platforms[0].LayerBytes)/1e6)
	}
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

// TestImagesHoldWhatTheyNeedAndNothingElse: one static program and the roots, no shell, no user but a number; and the program runs with these files
// as its whole world.
func TestImagesHoldWhatTheyNeedAndNothingElse(t *testing.T) {
	t.Parallel()
	o := options(t, filepath.Join("..", "..", ".."))
	for _, program := range build.Programs {
		found, err := build.Build(t.Context(), program, o)
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
		binary := unpacked(t, filepath.Join(o.Out, program.Name), program.Name)
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
