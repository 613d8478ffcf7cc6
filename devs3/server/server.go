package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"
)

// Limits of one server. They bound memory and threads on a developer's machine, far above what the agents
// of a local cluster open.
const (
	maxConnections = 4096
	maxRequests    = 2048
	// maxFileCalls bounds the operating-system threads that block in file calls.
	maxFileCalls = 256
	// maxParts is S3's own limit for a multipart upload.
	maxParts = 10_000
	// portTries bounds how often a free port may be taken by somebody else before we listen on it.
	portTries = 20
)

// Ready is what a starter needs to know; its JSON form is the line that the command prints.
type Ready struct {
	Endpoint string `json:"endpoint"`
	Bucket   string `json:"bucket"`
	PID      int    `json:"pid"`
}

// Run serves until ctx ends, then answers what is in flight and returns nil. It calls onReady once, when
// the port is bound, the health path answers and the bucket exists.
//
// One Run per process: versitygw keeps process-wide state, and its storage changes the working directory.
func Run(ctx context.Context, cfg Config, onReady func(endpoint string)) error {
	return run(ctx, cfg, onReady, pickAddress)
}

// picker turns an address to listen on into one with a port, and says whether it was free to choose.
type picker func(ctx context.Context, listen string) (address string, picked bool, err error)

func run(ctx context.Context, cfg Config, onReady func(endpoint string), pick picker) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	st, err := openStorage(cfg)
	if err != nil {
		return err
	}
	defer st.close()

	for try := 1; ; try++ {
		address, picked, err := pick(ctx, cfg.Listen)
		if err != nil {
			return err
		}
		err = serveAt(ctx, cfg, st, address, onReady)
		// The port was free a moment ago: another process won it, so any other port will do.
		if picked && try < portTries && errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		return err
	}
}

// pickAddress replaces port 0, which versitygw could listen on but never name, by a port that is free now.
func pickAddress(ctx context.Context, listen string) (address string, picked bool, err error) {
	_, port, err := net.SplitHostPort(listen)
	if err != nil || port != "0" {
		return listen, false, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return "", false, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), true, nil
}

// serveAt owns two goroutines, the gateway and the preparation of the bucket, and waits for both.
func serveAt(ctx context.Context, cfg Config, st *storage, address string, onReady func(string)) error {
	backend, err := st.backend(cfg.MD5)
	if err != nil {
		return err
	}
	if cfg.PutDelay > 0 {
		backend = slow{backend, cfg.PutDelay}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	bound := make(chan struct{}) // closed by the gateway when it listens
	served := make(chan error, 1)
	go func() { served <- embedgw.RunVersityGW(ctx, backend, gatewayConfig(cfg, address, bound)) }()

	prepared := make(chan error, 1)
	go func() { prepared <- prepare(ctx, cfg, address, bound) }()

	select {
	case err := <-served: // never came up
		cancel()
		return errors.Join(describe(ctx, "serve", err), describe(ctx, "prepare bucket", <-prepared))
	case err := <-prepared:
		if err != nil {
			cancel()
			return errors.Join(describe(ctx, "prepare bucket", err), describe(ctx, "serve", <-served))
		}
	}
	onReady("http://" + address)
	return describe(ctx, "serve", <-served)
}

// describe adds what was being done; an end that was asked for is no error.
func describe(ctx context.Context, doing string, err error) error {
	if err == nil || (ctx.Err() != nil && errors.Is(err, context.Canceled)) {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func gatewayConfig(cfg Config, address string, bound chan<- struct{}) *embedgw.Config {
	return &embedgw.Config{
		RootUserAccess:    cfg.AccessKey,
		RootUserSecret:    string(cfg.SecretKey),
		Region:            cfg.region(),
		Ports:             []string{address},
		MaxConnections:    maxConnections,
		MaxRequests:       maxRequests,
		MultipartMaxParts: maxParts,
		KeepAlive:         true, // without it every request pays for a connection
		Quiet:             true,
		HealthPath:        HealthPath,
		S3Options:         []s3api.Option{s3api.WithOnListen(func() { close(bound) })},
	}
}
