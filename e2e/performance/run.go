package performance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Config of a run.
type Config struct {
	// Bin is the folder of the programs.
	Bin string
	// Only rows whose text has this in it; empty: all.
	Only string
	// More arguments for every row.
	More []string
	// Out gets the table, Log what is being done.
	Out, Log io.Writer
}

const (
	upTime   = 2 * time.Minute
	rowTime  = 5 * time.Minute
	downTime = time.Minute
)

// Run runs the rows, and prints a line as each is done. A row that fails says so; the error names all that did.
func Run(ctx context.Context, c Config) error {
	var faults []error
	fmt.Fprint(c.Out, "| what | aim | measured | command |\n|---|---|---|---|\n")
	for _, cluster := range Clusters() {
		rows := slices.DeleteFunc(Rows(), func(r Row) bool { return r.Cluster != cluster.Name || !strings.Contains(r.What+r.Command(), c.Only) })
		if len(rows) > 0 && ctx.Err() == nil {
			faults = append(faults, c.cluster(ctx, cluster, rows))
		}
	}
	return errors.Join(append(faults, ctx.Err())...)
}

// cluster brings one up, and runs its rows.
func (c Config) cluster(ctx context.Context, cluster Cluster, rows []Row) (err error) {
	dir, err := os.MkdirTemp("", "streamhouse-performance-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL runs as another user where this is root
		return err
	}
	s := session{Config: c, data: filepath.Join(dir, "data")}
	fmt.Fprintf(c.Log, "starting the cluster %q\n", cluster.Name)
	defer func() {
		_, downErr := s.streamhouse(context.WithoutCancel(ctx), downTime, "dev", "down")
		err = errors.Join(err, downErr)
	}()
	if _, err := s.streamhouse(ctx, upTime, append([]string{"dev", "--detach"}, cluster.Dev...)...); err != nil {
		return err
	}
	var faults []error
	for _, more := range cluster.More {
		if _, err := s.streamhouse(ctx, upTime, append([]string{"dev", "agent", "start"}, more...)...); err != nil {
			faults = append(faults, err) // rows that need it will say so
		}
	}
	for _, row := range rows {
		if ctx.Err() != nil {
			break
		}
		faults = append(faults, s.row(ctx, row))
	}
	return errors.Join(faults...)
}

// session is one data dir.
type session struct {
	Config

	data string
}

func (s session) row(ctx context.Context, row Row) error {
	fmt.Fprintln(s.Log, row.Command())
	out, err := s.streamhouse(ctx, rowTime, slices.Concat(row.Args, s.More, []string{"-o", "json"})...)
	var r Report
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	measured := "failed"
	if err == nil {
		measured = row.Value(r)
	}
	fmt.Fprintf(s.Out, "| %s | %s | %s | `%s` |\n", row.What, row.Aim, measured, row.Command())
	for _, note := range r.Notes {
		fmt.Fprintf(s.Log, "  %s\n", note)
	}
	return err
}

// streamhouse runs a command to its end and returns its standard output.
func (s session) streamhouse(ctx context.Context, limit time.Duration, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.Bin, "streamhouse"), args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "STREAMHOUSE_") }),
		"STREAMHOUSE_DATA_DIR="+s.data, "STREAMHOUSE_BIN="+s.Bin)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it removes what it made
	cmd.WaitDelay = downTime
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		return nil, fmt.Errorf("streamhouse %s: %w: %s", strings.Join(args, " "), err, lines[len(lines)-1])
	}
	return stdout.Bytes(), nil
}
