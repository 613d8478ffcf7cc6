// Package build says what is in the images: which program, with which settings, and the roots that it trusts. It compiles the programs so that the
// same source and the same Go give the same bytes, wherever they lie.
// Nothing here knows the format of images; package oci does.
// Read: build.go, compile.go, roots.go.
package build

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/streamhouse/streamhouse/images/internal/oci"
)

// Program is one image's program.
type Program struct {
	// Name of the image and of the file in it.
	Name string
	// Package that is compiled, below the source folder.
	Package string
	// Title in one sentence, for those who look at the image.
	Title string
}

// Programs are the images that there are.
var Programs = []Program{
	{Name: "streamhouse-agent", Package: "./dataplane/cmd/streamhouse-agent", Title: "StreamHouse: agent"},
	{Name: "streamhouse-controlplane", Package: "./controlplane/cmd/streamhouse-controlplane", Title: "StreamHouse: control plane"},
}

// Both services listen here, on every address: a container's loopback is of no use to others.
const (
	port          = 8080
	listenAddress = ":8080"
	// user is nobody in particular; a number, since there is no file of users.
	user      = "65532:65532"
	rootsFile = "/etc/ssl/certs/ca-certificates.crt" // where Go's crypto/x509 looks first
)

// Options of a build.
type Options struct {
	// Source is the checkout's folder, that of go.work.
	Source string
	// Out gets a folder for each image.
	Out     string
	Version string
	// Created is the time that everything in the images has: that of the commit, not of the build.
	Created   time.Time
	Platforms []oci.Platform
	// ExtraRoots are certificates in PEM that are trusted besides.
	ExtraRoots []byte
}

// Build makes the image of a program, reads it back, and returns what it found.
func Build(ctx context.Context, p Program, o Options) (*oci.Found, error) {
	roots, err := Roots(o.ExtraRoots)
	if err != nil {
		return nil, err
	}
	spec := p.spec(o)
	for _, platform := range o.Platforms {
		binary, err := compile(ctx, o.Source, p.Package, o.Version, platform)
		if err != nil {
			return nil, fmt.Errorf("compile %s for %s: %w", p.Name, platform, err)
		}
		spec.Images = append(spec.Images, oci.Image{Platform: platform, Files: []oci.File{
			{Path: "/" + p.Name, Mode: 0o755, Data: binary},
			{Path: rootsFile, Mode: 0o644, Data: roots},
		}})
	}
	dir := filepath.Join(o.Out, p.Name)
	if _, err := oci.Write(dir, spec); err != nil {
		return nil, err
	}
	found, err := oci.Verify(dir)
	if err != nil {
		return nil, fmt.Errorf("%s was written, and does not read back: %w", dir, err)
	}
	return found, nil
}

// spec is the image without its files.
func (p Program) spec(o Options) *oci.Spec {
	return &oci.Spec{
		Tag: o.Version, Created: o.Created, User: user, Port: port, StopSignal: "SIGTERM",
		Entrypoint: []string{"/" + p.Name},
		Env:        []string{"STREAMHOUSE_LISTEN=" + listenAddress},
		Health:     []string{"/" + p.Name, "healthcheck"},
		Annotations: map[string]string{
			"org.opencontainers.image.title":    p.Title,
			"org.opencontainers.image.version":  o.Version,
			"org.opencontainers.image.created":  o.Created.UTC().Format(time.RFC3339),
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
}
