package oci

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"time"
)

// Image is what one platform gets.
type Image struct {
	Platform Platform
	Files    []File
}

// Spec describes an image on all its platforms.
type Spec struct {
	// Tag names the image within its layout: the version.
	Tag     string
	Created time.Time
	// Entrypoint is the program; arguments of `run` follow it.
	Entrypoint []string
	Env        []string
	// User is numeric, "uid:gid": an image from scratch has no names, and Kubernetes must see that it is not root.
	User string
	// Port is said to be listened on, over TCP.
	Port int
	// Health is the command that tells whether the container is well. OCI's format has no place for it: this is Docker's field, which others skip.
	Health []string
	// StopSignal ends the program in order.
	StopSignal  string
	Annotations map[string]string
	Images      []Image
}

// descriptor points to a blob.
//
//nolint:tagliatelle // the names are OCI's
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *Platform         `json:"platform,omitempty"`
}

//nolint:tagliatelle // the names are OCI's
type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

//nolint:tagliatelle // the names are OCI's
type index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Manifests     []descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type config struct {
	Platform
	Created string        `json:"created"`
	Config  runConfig     `json:"config"`
	RootFS  rootFS        `json:"rootfs"`
	History []historyItem `json:"history"`
}

//nolint:tagliatelle // the names are OCI's
type runConfig struct {
	User         string              `json:"User"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint"`
	WorkingDir   string              `json:"WorkingDir"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	Healthcheck  *healthcheck        `json:"Healthcheck,omitempty"`
}

//nolint:tagliatelle // the names are OCI's
type healthcheck struct {
	Test        []string      `json:"Test"`
	Interval    time.Duration `json:"Interval"` // nanoseconds
	Timeout     time.Duration `json:"Timeout"`
	StartPeriod time.Duration `json:"StartPeriod"`
	Retries     int           `json:"Retries"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type historyItem struct {
	Created   string `json:"created"`
	CreatedBy string `json:"created_by"`
}

// config of the image on one platform, whose single layer's archive has this digest.
func (s *Spec) config(on Platform, archive string) config {
	created := s.Created.UTC().Truncate(time.Second).Format(time.RFC3339)
	run := runConfig{
		User: s.User, Env: s.Env, Entrypoint: s.Entrypoint, WorkingDir: "/", Labels: maps.Clone(s.Annotations), StopSignal: s.StopSignal,
	}
	if s.Port != 0 {
		run.ExposedPorts = map[string]struct{}{fmt.Sprintf("%d/tcp", s.Port): {}}
	}
	if len(s.Health) > 0 {
		run.Healthcheck = &healthcheck{
			Test: append([]string{"CMD"}, s.Health...), Interval: 10 * time.Second, Timeout: 5 * time.Second, StartPeriod: time.Minute, Retries: 3,
		}
	}
	return config{
		Platform: on, Created: created, Config: run, RootFS: rootFS{Type: "layers", DiffIDs: []string{archive}},
		History: []historyItem{{Created: created, CreatedBy: "make images"}},
	}
}

// encode writes JSON as it will be hashed. Maps come out sorted.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func digest(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

func digestOf(b []byte) string {
	h := sha256.New()
	h.Write(b)
	return digest(h)
}
