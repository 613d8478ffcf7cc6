package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// reading is what had been spent at a moment.
type reading struct {
	wal float64 // bytes
	// postgres is the CPU time of the server's processes; known is false where they are not to be seen from here.
	postgres, client time.Duration
	known            bool
}

// cost is what turns spent together.
type cost struct {
	wal              float64
	postgres, client time.Duration
	known            bool
}

func (c *cost) add(before, after reading) {
	c.wal += after.wal - before.wal
	c.postgres += after.postgres - before.postgres
	c.client += after.client - before.client
	c.known = before.known && after.known
}

// meter reads a server's costs.
type meter struct {
	conn *pgx.Conn
	// postmaster is its process id, 0 where it is not this machine's.
	postmaster int
}

func openMeter(ctx context.Context, url, database string) (*meter, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &meter{conn: conn, postmaster: postmasterOf(int(conn.PgConn().PID()), database)}, nil
}

func (m *meter) close(ctx context.Context) { _ = m.conn.Close(ctx) }

func (m *meter) read(ctx context.Context) (r reading, err error) {
	if err := m.conn.QueryRow(ctx, "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8").Scan(&r.wal); err != nil {
		return r, fmt.Errorf("read the position of the WAL: %w", err)
	}
	r.client = ownCPU()
	r.postgres, r.known = serverCPU(m.postmaster)
	return r, nil
}

func ownCPU() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// postmasterOf finds the parent of a backend. The number may be one of another machine or container: its title must name the database.
func postmasterOf(backend int, database string) int {
	title, err := os.ReadFile(procFile(backend, "cmdline"))
	if err != nil || !bytes.Contains(title, []byte(database)) {
		return 0
	}
	fields := statFields(backend)
	if fields == nil {
		return 0
	}
	parent, _ := strconv.Atoi(fields[statParent])
	return parent
}

// Fields of /proc/*/stat after the command, counted from 0.
const (
	statParent         = 1
	statChildrenUser   = 13
	statChildrenSystem = 14
	// tick is their unit of time.
	tick = 10 * time.Millisecond
)

// serverCPU adds up the postmaster's children, those that ended included.
func serverCPU(postmaster int) (total time.Duration, known bool) {
	fields := statFields(postmaster)
	if postmaster == 0 || fields == nil {
		return 0, false
	}
	for _, field := range []int{statChildrenUser, statChildrenSystem} {
		ticks, _ := strconv.ParseInt(fields[field], 10, 64)
		total += time.Duration(ticks) * tick
	}
	processes, _ := filepath.Glob("/proc/[0-9]*") // fails for a bad pattern alone
	for _, process := range processes {
		id, _ := strconv.Atoi(filepath.Base(process))
		if fields := statFields(id); fields != nil && fields[statParent] == strconv.Itoa(postmaster) {
			total += onCPU(id)
		}
	}
	return total, true
}

// onCPU is in nanoseconds in the first field of schedstat: stat has ticks alone.
func onCPU(process int) time.Duration {
	content, err := os.ReadFile(procFile(process, "schedstat"))
	fields := strings.Fields(string(content))
	if err != nil || len(fields) == 0 {
		return 0
	}
	nanoseconds, _ := strconv.ParseInt(fields[0], 10, 64)
	return time.Duration(nanoseconds)
}

// statFields are those after the command, which is in parentheses and may hold anything; nil: no such process.
func statFields(process int) []string {
	content, err := os.ReadFile(procFile(process, "stat"))
	if err != nil {
		return nil
	}
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
	if len(fields) <= statChildrenSystem {
		return nil
	}
	return fields
}

func procFile(process int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(process), name)
}
