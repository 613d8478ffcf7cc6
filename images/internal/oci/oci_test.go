package oci_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/streamhouse/streamhouse/images/internal/oci"
)

func spec() *oci.Spec {
	image := func(architecture, content string) oci.Image {
		return oci.Image{Platform: oci.Platform{OS: "linux", Architecture: architecture}, Files: []oci.File{
			{Path: "/program", Mode: 0o755, Data: []byte(content)},
			{Path: "/etc/ssl/certs/ca-certificates.crt", Mode: 0o644, Data: []byte("roots")},
		}}
	}
	return &oci.Spec{
		Tag: "v1", Created: time.Unix(1_700_000_000, 0), Entrypoint: []string{"/program"}, User: "65532:65532", Port: 8080,
		Health: []string{"/program", "healthcheck"}, StopSignal: "SIGTERM", Annotations: map[string]string{"b": "2", "a": "1"},
		Images: []oci.Image{image("amd64", "one"), image("arm64", "two")},
	}
}

func write(t *testing.T, s *oci.Spec) (dir, digest string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "image")
	digest, err := oci.Write(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	return dir, digest
}

// TestOthersReadTheLayout: a reader that is not ours finds nothing wrong with the index, the manifests, the configs and the layers.
func TestOthersReadTheLayout(t *testing.T) {
	t.Parallel()
	dir, digest := write(t, spec())
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	root, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if root.Manifests[0].Digest.String() != digest {
		t.Errorf("the layout names %s, Write said %s", root.Manifests[0].Digest, digest)
	}
}

func TestVerifyTellsWhatIsInside(t *testing.T) {
	t.Parallel()
	dir, digest := write(t, spec())
	found, err := oci.Verify(dir)
	if err != nil {
		t.Fatal(err)
	}
	if found.Tag != "v1" || found.Digest != digest || len(found.Platforms) != 2 {
		t.Fatalf("found %+v", found)
	}
	p := found.Platforms[1]
	if p.String() != "linux/arm64" || p.User != "65532:65532" || p.Files["/program"] != 3 || p.Files["/etc/ssl/certs/ca-certificates.crt"] != 5 || len(p.Files) != 2 ||
		strings.Join(p.Health, " ") != "CMD /program healthcheck" {
		t.Errorf("found %+v", p)
	}
}

func TestTheSameInTheSameOut(t *testing.T) {
	t.Parallel()
	_, first := write(t, spec())
	shuffled := spec()
	files := shuffled.Images[0].Files
	files[0], files[1] = files[1], files[0]
	if _, second := write(t, shuffled); second != first {
		t.Errorf("digests %s and %s of the same image", first, second)
	}
	other := spec()
	other.Images[0].Files[0].Data = []byte("ONE")
	if _, third := write(t, other); third == first {
		t.Error("another program has the same digest")
	}
}

// TestVerifyFindsDamage: the check that make images ends with must see each kind of damage.
func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	blobs := func(t *testing.T, dir string) []string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
		if err != nil || len(found) == 0 {
			t.Fatal(err, found)
		}
		return found
	}
	for name, damage := range map[string]func(t *testing.T, dir string) error{
		"a byte changed": func(t *testing.T, dir string) error {
			t.Helper()
			for _, blob := range blobs(t, dir) {
				b, err := os.ReadFile(blob)
				if err != nil {
					return err
				}
				b[len(b)/2] ^= 1
				if err := os.WriteFile(blob, b, 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		"a blob gone": func(t *testing.T, dir string) error {
			t.Helper()
			return os.Remove(blobs(t, dir)[0])
		},
		"a blob too many": func(_ *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, "blobs", "sha256", strings.Repeat("0", 64)), nil, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, _ := write(t, spec())
			if err := damage(t, dir); err != nil {
				t.Fatal(err)
			}
			if found, err := oci.Verify(dir); err == nil {
				t.Errorf("nothing was found: %+v", found)
			}
		})
	}
}

// TestAFolderOfOthersIsLeftAlone: -out comes from a command line.
func TestAFolderOfOthersIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := oci.Write(dir, spec()); err == nil {
		t.Error("it was written into")
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
	again, first := write(t, spec())
	if second, err := oci.Write(again, spec()); err != nil || second != first {
		t.Errorf("a layout is replaced by a new one: %s, %s, %v", first, second, err)
	}
}
