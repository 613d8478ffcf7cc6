package datadir

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"

	"github.com/streamhouse/streamhouse/cli/internal/child"
)

// State is what a restart must find again. Whoever holds the Lock reads and writes it.
type State struct {
	// Ports by part, so that addresses stay.
	Ports map[string]int `json:"ports"`
	// PostgresDir has the database's files; empty: not chosen yet.
	PostgresDir string `json:"postgres_dir,omitempty"`
	// Secrets of the parts.
	PostgresPassword string `json:"postgres_password,omitempty"`
	S3AccessKey      string `json:"s3_access_key,omitempty"`
	S3SecretKey      string `json:"s3_secret_key,omitempty"`
	AdminKey         string `json:"admin_key,omitempty"`
	// Keys are the API keys that the control plane made, by their names.
	Keys map[string]Key `json:"keys,omitempty"`
}

// Key is an API key.
type Key struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

func (d Dir) stateFile() string { return d.Join("state.json") }

// KeyFile is the file that holds the API keys.
func (d Dir) KeyFile() string { return d.stateFile() }

// ReadState reads what an earlier run left, if anything.
func (d Dir) ReadState() (*State, error) {
	s := &State{}
	if err := readJSON(d.stateFile(), s); err != nil {
		return nil, err
	}
	if s.Ports == nil {
		s.Ports = map[string]int{}
	}
	if s.Keys == nil {
		s.Keys = map[string]Key{}
	}
	return s, nil
}

// WriteState keeps it for the next run.
func (d Dir) WriteState(s *State) error { return writeJSON(d.stateFile(), s) }

// Ports that are chosen lie below those that operating systems hand out for outgoing connections, which could otherwise take a part's
// port while it is down.
const (
	lowestPort  = 20000
	highestPort = 31999
	portTries   = 200
	lastPort    = 65535
)

// Port returns the part's port: the one it had, or else a free one, from `from` on where that is not 0.
func (s *State) Port(ctx context.Context, part string, from int) (int, error) {
	if port, known := s.Ports[part]; known && (from == 0 || port >= from) {
		return port, nil
	}
	taken := make([]int, 0, len(s.Ports))
	for _, port := range s.Ports {
		taken = append(taken, port)
	}
	for try := range portTries {
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		if from != 0 {
			port = from + try
		}
		if port > lastPort {
			break
		}
		if !slices.Contains(taken, port) && PortFree(ctx, port) {
			s.Ports[part] = port
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port for %s: choose others with --ports-from", part)
}

// PortFree says whether a process could listen on the loopback port now.
func PortFree(ctx context.Context, port int) bool {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// Started is a process that was started for the folder's cluster.
type Started struct {
	child.Identity
	Part string `json:"part"`
}

func (d Dir) processFile() string { return d.Join("processes.json") }

// WriteProcesses replaces the list of processes that may be running.
func (d Dir) WriteProcesses(list []Started) error { return writeJSON(d.processFile(), list) }

// Leftovers are processes that an earlier owner started and that still run.
func (d Dir) Leftovers() ([]Started, error) {
	var list []Started
	if err := readJSON(d.processFile(), &list); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(s Started) bool { return !s.Alive() }), nil
}

// EndLeftovers ends those processes, the newest first, and never another that has got the same number. Requires: the Lock is held.
func (d Dir) EndLeftovers(ctx context.Context, end func(context.Context, Started) error) ([]Started, error) {
	list, err := d.Leftovers()
	if err != nil {
		return nil, err
	}
	slices.Reverse(list)
	var faults []error
	for _, s := range list {
		faults = append(faults, end(ctx, s))
	}
	return list, errors.Join(faults...)
}
