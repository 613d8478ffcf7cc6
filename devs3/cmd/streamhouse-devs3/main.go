// Command streamhouse-devs3 is the S3 server of `streamhouse dev` and of the tests, on a local folder.
// Behaviour lives in package server; this file parses, wires and runs.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/streamhouse/streamhouse/devs3/server"
)

type command struct {
	Serve       serveCommand       `cmd:"" default:"withargs" help:"Serve S3 from a folder until SIGTERM or SIGINT (the default)."`
	Healthcheck healthcheckCommand `cmd:"" help:"Exit 0 when a server answers, 1 when not."`
	Version     versionCommand     `cmd:"" help:"Print the version."`
}

type serveCommand struct {
	Listen    string        `default:"127.0.0.1:0" env:"STREAMHOUSE_DEVS3_LISTEN" help:"Address host:port; port 0 takes a free one."`
	DataDir   string        `required:"" env:"STREAMHOUSE_DEVS3_DATA_DIR" help:"Folder for the objects; created when absent."`
	Bucket    string        `default:"streamhouse" env:"STREAMHOUSE_DEVS3_BUCKET" help:"Bucket; created when absent."`
	AccessKey string        `required:"" env:"STREAMHOUSE_DEVS3_ACCESS_KEY" help:"Access key of the one account."`
	SecretKey string        `required:"" env:"STREAMHOUSE_DEVS3_SECRET_KEY" help:"Its secret key. Prefer the environment: other users see arguments."`
	Region    string        `default:"us-east-1" env:"STREAMHOUSE_DEVS3_REGION" help:"Region that clients must sign for."`
	Metadata  string        `default:"auto" enum:"auto,xattr,sidecar" env:"STREAMHOUSE_DEVS3_METADATA" help:"Where objects' metadata goes: auto, xattr, sidecar."`
	MD5       bool          `name:"md5" env:"STREAMHOUSE_DEVS3_MD5" help:"Compute MD5 ETags as S3 does (a third of the speed)."`
	PutDelay  time.Duration `env:"STREAMHOUSE_DEVS3_PUT_DELAY" hidden:"" help:"Hold every PUT of an object back for so long, as a bucket far away would."`
}

func (c *serveCommand) Run(stdout io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	cfg := server.Config{
		Listen: c.Listen, DataDir: c.DataDir, Bucket: c.Bucket, AccessKey: c.AccessKey,
		SecretKey: server.Secret(c.SecretKey), Region: c.Region, Metadata: server.Metadata(c.Metadata), MD5: c.MD5, PutDelay: c.PutDelay,
	}
	return server.Run(ctx, cfg, func(endpoint string) {
		_ = json.NewEncoder(stdout).Encode(server.Ready{Endpoint: endpoint, Bucket: c.Bucket, PID: os.Getpid()})
	})
}

type healthcheckCommand struct {
	Endpoint string        `required:"" env:"STREAMHOUSE_DEVS3_ENDPOINT" help:"URL of the server: http://host:port."`
	Timeout  time.Duration `default:"2s" help:"How long to wait for the answer."`
}

func (c *healthcheckCommand) Run() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	return server.CheckHealth(ctx, c.Endpoint)
}

type versionCommand struct{}

func (*versionCommand) Run(stdout io.Writer) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("the binary carries no build information")
	}
	_, err := fmt.Fprintln(stdout, info.Main.Path, info.Main.Version, info.GoVersion)
	return err
}

func main() {
	// Standard output carries our one line alone; what libraries print belongs to standard error.
	stdout := os.Stdout
	os.Stdout = os.Stderr
	parser := kong.Must(&command{}, kong.Name("streamhouse-devs3"), kong.Writers(stdout, os.Stderr), kong.BindTo(stdout, (*io.Writer)(nil)))
	parsed, err := parser.Parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "streamhouse-devs3:", err)
		os.Exit(2)
	}
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "streamhouse-devs3:", err)
		os.Exit(1)
	}
}
