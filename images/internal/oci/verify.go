package oci

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Found is an image as it was read back from a layout.
type Found struct {
	Tag, Digest string
	Platforms   []FoundPlatform
}

// FoundPlatform is the image for one platform.
type FoundPlatform struct {
	Platform
	// Digest of the manifest: what a container runs from.
	Digest string
	// LayerBytes is what is pulled, compressed.
	LayerBytes int64
	User       string
	Entrypoint []string
	Health     []string
	// Files by path, folders left out, with their sizes.
	Files map[string]int64
}

// Verify reads a layout back: every blob that is referred to must be there with its size and its digest, every layer must be the archive that its
// image's config names, and no blob may be left over.
func Verify(dir string) (*Found, error) {
	v := verifier{layout: layout{dir}, seen: map[string]bool{}}
	var root index
	if err := readJSON(filepath.Join(dir, indexFile), &root); err != nil {
		return nil, err
	}
	if len(root.Manifests) != 1 {
		return nil, fmt.Errorf("%s names %d images, one is expected", indexFile, len(root.Manifests))
	}
	top := root.Manifests[0]
	found := &Found{Tag: top.Annotations[refName], Digest: top.Digest}
	var platforms index
	if err := v.json(top, typeIndex, &platforms); err != nil {
		return nil, err
	}
	for _, d := range platforms.Manifests {
		p, err := v.image(d)
		if err != nil {
			return nil, err
		}
		found.Platforms = append(found.Platforms, p)
	}
	return found, v.leftOver()
}

type verifier struct {
	layout
	seen map[string]bool
}

func (v *verifier) image(d descriptor) (FoundPlatform, error) {
	var m manifest
	if err := v.json(d, typeManifest, &m); err != nil {
		return FoundPlatform{}, err
	}
	var c config
	if err := v.json(m.Config, typeConfig, &c); err != nil {
		return FoundPlatform{}, err
	}
	if d.Platform == nil || *d.Platform != c.Platform {
		return FoundPlatform{}, fmt.Errorf("%s is for %s, and the index says %v", d.Digest, c.Platform, d.Platform)
	}
	if len(m.Layers) != len(c.RootFS.DiffIDs) {
		return FoundPlatform{}, fmt.Errorf("%s: %d layers, %d archives", d.Digest, len(m.Layers), len(c.RootFS.DiffIDs))
	}
	p := FoundPlatform{Platform: c.Platform, Digest: d.Digest, User: c.Config.User, Entrypoint: c.Config.Entrypoint, Files: map[string]int64{}}
	if c.Config.Healthcheck != nil {
		p.Health = c.Config.Healthcheck.Test
	}
	for i, layer := range m.Layers {
		p.LayerBytes += layer.Size
		if err := v.layer(layer, c.RootFS.DiffIDs[i], p.Files); err != nil {
			return FoundPlatform{}, err
		}
	}
	return p, nil
}

func (v *verifier) json(d descriptor, mediaType string, into any) error {
	b, err := v.blob(d, mediaType)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// blob reads what a descriptor points to, and compares.
func (v *verifier) blob(d descriptor, mediaType string) ([]byte, error) {
	v.seen[d.Digest] = true
	b, err := os.ReadFile(v.path(d.Digest))
	switch {
	case err != nil:
		return nil, err
	case d.MediaType != mediaType:
		return nil, fmt.Errorf("%s is a %s, not a %s", d.Digest, d.MediaType, mediaType)
	case int64(len(b)) != d.Size:
		return nil, fmt.Errorf("%s has %d bytes, not %d", d.Digest, len(b), d.Size)
	case digestOf(b) != d.Digest:
		return nil, fmt.Errorf("%s holds what has the digest %s", d.Digest, digestOf(b))
	}
	return b, nil
}

// layer adds the files of a layer.
func (v *verifier) layer(d descriptor, archive string, files map[string]int64) error {
	b, err := v.blob(d, typeLayer)
	if err != nil {
		return err
	}
	zip, err := gzip.NewReader(strings.NewReader(string(b)))
	if err != nil {
		return fmt.Errorf("%s: %w", d.Digest, err)
	}
	sum := sha256.New()
	inner := io.TeeReader(zip, sum)
	reader := tar.NewReader(inner)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", d.Digest, err)
		}
		if header.Typeflag == tar.TypeReg {
			files["/"+header.Name] = header.Size
		}
	}
	if _, err := io.Copy(io.Discard, inner); err != nil {
		return fmt.Errorf("%s: %w", d.Digest, err)
	}
	if got := digest(sum); got != archive {
		return fmt.Errorf("%s holds the archive %s, its config names %s", d.Digest, got, archive)
	}
	return nil
}

func (v *verifier) leftOver() error {
	blobs, err := os.ReadDir(v.blobs())
	if err != nil {
		return err
	}
	for _, blob := range blobs {
		if !v.seen["sha256:"+blob.Name()] {
			return fmt.Errorf("blob %s belongs to nothing", blob.Name())
		}
	}
	return nil
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}
