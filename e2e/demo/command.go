package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	upTimeout   = 2 * time.Minute
	downTimeout = time.Minute
	pollEvery   = 20 * time.Millisecond
)

// streamhouse runs a command to its end and returns its standard output.
func (d *demo) streamhouse(ctx context.Context, args ...string) ([]byte, error) {
	cmd := d.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("streamhouse %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

func (d *demo) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(d.cfg.Bin, "streamhouse"), args...)
	cmd.Env = append(os.Environ(), "STREAMHOUSE_DATA_DIR="+d.data)
	return cmd
}

func (d *demo) up(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	_, err := d.streamhouse(ctx, append([]string{"dev", "--detach"}, d.cfg.DevArgs...)...)
	return err
}

func (d *demo) down(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	if _, err := d.streamhouse(ctx, "dev", "down"); err != nil {
		d.sayf("%v", err)
	}
}

// produce streams the input in a process of its own.
func (d *demo) produce(ctx context.Context, input *Input) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := d.streamhouse(ctx, "produce", topic, input.Path, "--key-separator", "\t", "--rate", strconv.Itoa(d.cfg.Rate))
		done <- err
	}()
	return done
}

type agent struct {
	ID  string `json:"id"`
	URL string `json:"url"`
	PID int    `json:"pid"`
}

type lease struct {
	Partition int    `json:"partition"`
	Leader    string `json:"leader"`
	Epoch     int32  `json:"epoch"`
}

// victim is the agent that will be killed: epochs of the partitions that it leads, and the address of another agent.
type victim struct {
	agent  agent
	other  agent
	epochs map[int]int32
}

func (d *demo) leases(ctx context.Context) ([]lease, error) {
	out, err := d.streamhouse(ctx, "lease", "list", "--topic", topic, "-o", "json")
	if err != nil {
		return nil, err
	}
	var leases []lease
	return leases, json.Unmarshal(out, &leases)
}

// pickVictim waits until every partition is led, and takes the leader of partition 0.
func (d *demo) pickVictim(ctx context.Context) (*victim, error) {
	leases, err := d.awaitLeases(ctx, func(l lease) bool { return l.Leader != "" })
	if err != nil {
		return nil, err
	}
	state, err := os.ReadFile(filepath.Join(d.data, "dev.json"))
	if err != nil {
		return nil, err
	}
	var dev struct {
		Agents []agent `json:"agents"`
	}
	if err := json.Unmarshal(state, &dev); err != nil {
		return nil, err
	}
	v := &victim{epochs: map[int]int32{}}
	for _, a := range dev.Agents {
		if a.ID == leases[0].Leader {
			v.agent = a
		} else {
			v.other = a
		}
	}
	for _, l := range leases {
		if l.Leader == v.agent.ID {
			v.epochs[l.Partition] = l.Epoch
		}
	}
	if v.agent.PID == 0 || v.other.PID == 0 {
		return nil, fmt.Errorf("dev.json does not name %s and another agent", leases[0].Leader)
	}
	return v, nil
}

// awaitLeases polls until every lease is as wanted.
func (d *demo) awaitLeases(ctx context.Context, want func(lease) bool) ([]lease, error) {
	for {
		leases, err := d.leases(ctx)
		if err != nil {
			return nil, err
		}
		good := len(leases) > 0
		for _, l := range leases {
			good = good && want(l)
		}
		if good {
			return leases, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pollEvery):
		}
	}
}

// killHalfway waits until half of the records can be read, kills the victim, and measures until all that it led is led by others.
func (d *demo) killHalfway(ctx context.Context, v *victim, half int) (time.Duration, error) {
	if err := d.awaitRecords(ctx, half); err != nil {
		return 0, err
	}
	d.sayf("killing %s (pid %d), which leads %d of the 6 partitions …", v.agent.ID, v.agent.PID, len(v.epochs))
	began := time.Now()
	if err := syscall.Kill(v.agent.PID, syscall.SIGKILL); err != nil {
		return 0, fmt.Errorf("kill %s: %w", v.agent.ID, err)
	}
	_, err := d.awaitLeases(ctx, func(l lease) bool { return l.Leader != "" && l.Leader != v.agent.ID })
	return time.Since(began), err
}

// awaitRecords waits until that many records can be read.
func (d *demo) awaitRecords(ctx context.Context, n int) error {
	for {
		out, err := d.streamhouse(ctx, "topic", "describe", topic, "-o", "json")
		if err != nil {
			return err
		}
		var described struct {
			Partitions []struct {
				HighWatermark int `json:"high_watermark"`
			} `json:"partitions"`
		}
		if err := json.Unmarshal(out, &described); err != nil {
			return err
		}
		readable := 0
		for _, p := range described.Partitions {
			readable += p.HighWatermark
		}
		if readable >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d records can be read: %w", readable, n, context.Cause(ctx))
		case <-time.After(pollEvery):
		}
	}
}

// Read is one record as `streamhouse consume --format json` prints it.
type Read struct {
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
	Key       string `json:"key"`
	Value     string `json:"value"`
}

// consume reads the topic from its beginning to its end.
func (d *demo) consume(ctx context.Context) ([]Read, error) {
	out, err := d.streamhouse(ctx, "consume", topic, "--from-beginning", "--format", "json")
	if err != nil {
		return nil, err
	}
	return parse(bufio.NewScanner(bytes.NewReader(out)))
}

func parse(scanner *bufio.Scanner) ([]Read, error) {
	scanner.Buffer(nil, 4<<20)
	var reads []Read
	for scanner.Scan() {
		var r Read
		if err := json.Unmarshal(scanner.Bytes(), &r); err != nil {
			return reads, fmt.Errorf("consume printed %q: %w", scanner.Text(), err)
		}
		reads = append(reads, r)
	}
	return reads, scanner.Err()
}

// follower is a `streamhouse consume --follow` that runs all the while, at an agent that survives.
type follower struct {
	cancel context.CancelFunc
	reads  []Read // read after done
	err    error
	done   chan struct{}
	count  chan int // the number of records seen so far; the newest alone is kept
}

func (d *demo) follow(ctx context.Context, at agent) (*follower, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := d.command(ctx, "consume", topic, "--from-beginning", "--follow", "--format", "json", "--agent", at.URL)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	f := &follower{cancel: cancel, done: make(chan struct{}), count: make(chan int, 1)}
	go func() {
		defer close(f.done)
		scanner := bufio.NewScanner(out)
		scanner.Buffer(nil, 4<<20)
		for scanner.Scan() {
			var r Read
			if f.err = json.Unmarshal(scanner.Bytes(), &r); f.err != nil {
				break
			}
			f.reads = append(f.reads, r)
			select {
			case <-f.count:
			default:
			}
			f.count <- len(f.reads)
		}
		_ = cmd.Wait() // it was interrupted
	}()
	return f, nil
}

// await waits until it has seen n records, or has ended.
func (f *follower) await(ctx context.Context, n int) error {
	for {
		select {
		case seen := <-f.count:
			if seen >= n {
				return nil
			}
		case <-f.done:
			return errors.Join(errors.New("the follower ended early"), f.err)
		case <-ctx.Done():
			return fmt.Errorf("the follower waits for record %d: %w", n, context.Cause(ctx))
		}
	}
}

func (f *follower) stop() {
	f.cancel()
	<-f.done
}
