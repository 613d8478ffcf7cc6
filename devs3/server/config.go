package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"
)

// HealthPath answers 200 to an unsigned GET once the server listens.
const HealthPath = "/healthz"

// Secret is a string that fmt, slog, JSON and YAML do not show.
type Secret string

// maxPutDelay keeps a typing error from looking like a server that hangs.
const maxPutDelay = 10 * time.Second

const hidden = "(hidden)"

// Format hides the value from every verb of fmt.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue hides the value from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the value from JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Metadata says where the server keeps what S3 knows of an object beside its bytes.
type Metadata string

// The kinds of Metadata.
const (
	// MetadataAuto is a side-car if the folder has one already or the file system has no extended attributes.
	MetadataAuto Metadata = "auto"
	// MetadataXattr is extended attributes of the object's file: fast.
	MetadataXattr Metadata = "xattr"
	// MetadataSideCar is small files in a folder beside the objects: works on every file system, slower.
	MetadataSideCar Metadata = "sidecar"
)

// Config is what the server needs to know. Every field but Metadata, Region, MD5 and PutDelay is required.
type Config struct {
	// Listen is host:port; port 0 takes any free port.
	Listen string
	// DataDir is created when absent.
	DataDir string
	// Bucket is created when absent. At least 3 characters, as S3 demands.
	Bucket string
	// AccessKey and SecretKey are those of the one account.
	AccessKey string
	SecretKey Secret
	// Region; empty means us-east-1.
	Region string
	// Metadata; empty means MetadataAuto.
	Metadata Metadata
	// MD5 computes classic ETags: faithful to S3, at a third of the speed.
	MD5 bool
	// PutDelay is how long every PUT of an object is held back before it is stored, as a bucket far away would; 0: not at all.
	PutDelay time.Duration
}

// Validate says what is missing or wrong.
func (c Config) Validate() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("listen address %q: want host:port: %w", c.Listen, err)
	}
	for _, field := range []struct{ name, value string }{
		{"data dir", c.DataDir}, {"bucket", c.Bucket}, {"access key", c.AccessKey}, {"secret key", string(c.SecretKey)},
	} {
		if field.value == "" {
			return fmt.Errorf("%s is required", field.name)
		}
	}
	if c.Bucket == strings.TrimPrefix(HealthPath, "/") {
		return fmt.Errorf("bucket %q would hide behind the health path: choose another name", c.Bucket)
	}
	if c.PutDelay < 0 || c.PutDelay > maxPutDelay {
		return fmt.Errorf("put delay %v: must be between 0 and %v", c.PutDelay, maxPutDelay)
	}
	switch c.Metadata {
	case "", MetadataAuto, MetadataXattr, MetadataSideCar:
		return nil
	}
	return errors.New("metadata must be auto, xattr or sidecar")
}

func (c Config) region() string {
	if c.Region == "" {
		return "us-east-1"
	}
	return c.Region
}
