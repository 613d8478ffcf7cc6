package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Cluster is the content of dev.json: how to reach what runs now, and with which process numbers. A part that has died is not in it.
type Cluster struct {
	ControlPlanes []ControlPlane `json:"controlplanes"`
	Agents        []Agent        `json:"agents"`
	Postgres      Postgres       `json:"postgres"`
	S3            S3             `json:"s3"`
	// APIKey is an admin's.
	APIKey string `json:"api_key"`
	// ConsoleURL opens the web console, logged in: the key is behind the "#", which browsers send to nobody. Empty: no control plane runs.
	ConsoleURL string `json:"console_url"`
	// TracesURL takes OTLP over HTTP, and has the newest traces; empty: dev runs without --otel.
	TracesURL string `json:"traces_url,omitempty"`
}

// ControlPlane is one replica of the control plane.
type ControlPlane struct {
	ID  string `json:"id"`
	URL string `json:"url"`
	PID int    `json:"pid"`
}

// Agent is one agent.
type Agent struct {
	ID         string `json:"id"`
	Zone       string `json:"zone"`
	AgentGroup string `json:"agent_group"`
	URL        string `json:"url"`
	PID        int    `json:"pid"`
}

// Postgres is the database.
type Postgres struct {
	// URL with the password.
	URL string `json:"url"`
	// PID of the postmaster; absent: it runs elsewhere, or has died.
	PID int `json:"pid,omitempty"`
}

// S3 is the bucket.
type S3 struct {
	Endpoint  string `json:"endpoint"`
	Bucket    string `json:"bucket"`
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
	Region    string `json:"region"`
	// PID of the server; absent: it runs elsewhere, or has died.
	PID int `json:"pid,omitempty"`
}

func (d Dir) devFile() string { return d.Join("dev.json") }

// ReadCluster reads dev.json; false: nothing runs here, or it is not ready.
func (d Dir) ReadCluster() (Cluster, bool, error) {
	var c Cluster
	if _, err := os.Stat(d.devFile()); errors.Is(err, fs.ErrNotExist) {
		return c, false, nil
	}
	if err := readJSON(d.devFile(), &c); err != nil {
		return c, false, err
	}
	return c, true, nil
}

// WriteCluster replaces dev.json.
func (d Dir) WriteCluster(c Cluster) error { return writeJSON(d.devFile(), c) }

// RemoveCluster removes dev.json.
func (d Dir) RemoveCluster() error {
	if err := os.Remove(d.devFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove dev.json: %w", err)
	}
	return nil
}
