// Package oci writes container images to a folder in the OCI image layout, and reads such a folder back to check every blob of it. It needs no
// container engine. What it writes depends on nothing but what it is given: no clock, no names of this machine, no order of a map.
// Nothing here knows what is in an image; package build does.
// Read: layer.go, image.go, layout.go, verify.go.
package oci

// Media types of the OCI image specification, 1.1.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// Platform is what an image runs on, in Go's words, which are also OCI's.
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
}

func (p Platform) String() string { return p.OS + "/" + p.Architecture }
