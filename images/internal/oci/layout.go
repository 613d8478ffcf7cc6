package oci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	layoutFile = "oci-layout"
	layoutText = `{"imageLayoutVersion":"1.0.0"}`
	indexFile  = "index.json"
	refName    = "org.opencontainers.image.ref.name"
)

// Write makes the folder dir an OCI layout that holds the image, in place of a layout that was there, and returns the digest of the image: of the
// index over its platforms. A folder that holds anything else is left alone.
func Write(dir string, s *Spec) (string, error) {
	if err := makeRoom(dir); err != nil {
		return "", err
	}
	l := layout{dir}
	if err := os.MkdirAll(l.blobs(), 0o755); err != nil {
		return "", err
	}
	platforms := index{SchemaVersion: 2, MediaType: typeIndex, Annotations: s.Annotations}
	for _, image := range s.Images {
		d, err := l.image(s, image)
		if err != nil {
			return "", fmt.Errorf("image for %s: %w", image.Platform, err)
		}
		platforms.Manifests = append(platforms.Manifests, d)
	}
	top, err := l.json(typeIndex, platforms)
	if err != nil {
		return "", err
	}
	top.Annotations = map[string]string{refName: s.Tag}
	root, err := encode(index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{top}})
	if err != nil {
		return "", err
	}
	return top.Digest, errors.Join(l.file(layoutFile, []byte(layoutText)), l.file(indexFile, root))
}

// makeRoom removes a layout. It is careful: dir comes from a command line.
func makeRoom(dir string) error {
	found, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && len(found) == 0) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, layoutFile)); err != nil {
		return fmt.Errorf("%s is not empty, and no image layout: remove it, or choose another folder", dir)
	}
	return os.RemoveAll(dir)
}

type layout struct{ dir string }

func (l layout) blobs() string { return filepath.Join(l.dir, "blobs", "sha256") }

func (l layout) path(digest string) string {
	return filepath.Join(l.blobs(), strings.TrimPrefix(digest, "sha256:"))
}

func (l layout) file(name string, content []byte) error {
	return os.WriteFile(filepath.Join(l.dir, name), content, 0o644) //nolint:gosec // an image is no secret
}

// image writes one platform's layer, config and manifest.
func (l layout) image(s *Spec, image Image) (descriptor, error) {
	layer, archive, err := l.layer(image.Files, s.Created)
	if err != nil {
		return descriptor{}, fmt.Errorf("layer: %w", err)
	}
	config, err := l.json(typeConfig, s.config(image.Platform, archive))
	if err != nil {
		return descriptor{}, err
	}
	d, err := l.json(typeManifest, manifest{
		SchemaVersion: 2, MediaType: typeManifest, Config: config, Layers: []descriptor{layer}, Annotations: s.Annotations,
	})
	d.Platform = &image.Platform
	return d, err
}

// layer is written under another name first: its digest is known at its end.
func (l layout) layer(files []File, at time.Time) (d descriptor, archive string, err error) {
	f, err := os.CreateTemp(l.dir, "layer-")
	if err != nil {
		return descriptor{}, "", err
	}
	sums, err := writeLayer(f, files, at)
	size, sizeErr := f.Seek(0, 1)
	if err := errors.Join(err, sizeErr, f.Chmod(0o644), f.Close()); err != nil {
		return descriptor{}, "", err
	}
	return descriptor{MediaType: typeLayer, Digest: sums.stored, Size: size}, sums.archive, os.Rename(f.Name(), l.path(sums.stored))
}

func (l layout) json(mediaType string, v any) (descriptor, error) {
	b, err := encode(v)
	if err != nil {
		return descriptor{}, err
	}
	d := descriptor{MediaType: mediaType, Digest: digestOf(b), Size: int64(len(b))}
	return d, os.WriteFile(l.path(d.Digest), b, 0o644) //nolint:gosec // an image is no secret
}
