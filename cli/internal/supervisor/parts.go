package supervisor

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/child"
	"github.com/streamhouse/streamhouse/cli/internal/postgres"
)

// How long each kind may take to stop: an agent flushes, commits and hands its partitions over.
const (
	drainDeadline     = 15 * time.Second
	drainLinger       = 500 * time.Millisecond // here everyone learns of new leaders at once
	agentGrace        = drainDeadline + 15*time.Second
	controlPlaneGrace = 15 * time.Second
	s3Grace           = 10 * time.Second
)

const loopback = "127.0.0.1"

func address(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

// environment of the parts: this process's, less what is meant for other programs of this project or for PostgreSQL's, plus `more`.
func environment(more ...string) []string {
	var env []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "STREAMHOUSE_") && !strings.HasPrefix(variable, "PG") {
			env = append(env, variable)
		}
	}
	return append(env, more...)
}

func postgresPart(server *postgres.Server) *part {
	return &part{name: "postgres", kind: kindPostgres, url: server.URL(), spec: server.Spec(), ready: server.Ready}
}

func (s *Supervisor) s3Part(port int) *part {
	url := "http://" + address(port)
	args := []string{
		"serve", "--listen", address(port), "--data-dir", s.config.Dir.Join("s3"), "--bucket", s.s3.Bucket, "--region", s.s3.Region,
	}
	if s.config.S3PutDelay > 0 {
		args = append(args, "--put-delay", s.config.S3PutDelay.String())
	}
	if s.config.S3MD5 {
		args = append(args, "--md5")
	}
	return &part{name: "s3", kind: kindS3, url: url, ready: httpReady(url + "/healthz"), spec: child.Spec{
		Name: "s3", Path: s.config.program(s3Program), LogFile: s.config.Dir.Log("s3"), Grace: s3Grace,
		Args: args,
		Env:  environment("STREAMHOUSE_DEVS3_ACCESS_KEY="+s.s3.AccessKey, "STREAMHOUSE_DEVS3_SECRET_KEY="+s.s3.SecretKey),
	}}
}

func (s *Supervisor) controlPlanePart(name string, port int) *part {
	url := "http://" + address(port)
	return &part{name: name, kind: kindControlPlane, url: url, ready: httpReady(url + "/readyz"), spec: child.Spec{
		Name: name, Path: s.config.program(controlPlaneProgram), LogFile: s.config.Dir.Log(name), Grace: controlPlaneGrace,
		Args: append([]string{
			"serve", "--listen", address(port), "--advertised-address", url,
			"--session-duration", s.config.SessionDuration.String(), "--suspect-after", s.config.SuspectAfter.String(),
			"--heartbeat-interval", s.config.heartbeat().String(), "--pool-size", strconv.Itoa(poolSize),
			"--agent-groups", s.config.AgentGroup,
		}, s.config.ServiceFlags...),
		Env: environment("STREAMHOUSE_DATABASE_URL="+s.databaseURL, "STREAMHOUSE_BOOTSTRAP_ADMIN_KEY="+s.state.AdminKey),
	}}
}

// consoleOrigins are those of the web console's pages, which speak to agents themselves: each control plane, by both names of this machine.
func (s *Supervisor) consoleOrigins() []string {
	var origins []string
	for _, url := range s.controlPlaneURLs() {
		origins = append(origins, url, strings.Replace(url, loopback, "localhost", 1))
	}
	return origins
}

// agentPart takes flags ("name=value") that are this agent's alone; where one is also given to all agents, its own counts.
func (s *Supervisor) agentPart(name, zone, group string, port int, key string, flags ...string) *part {
	url := "http://" + address(port)
	args := []string{
		"serve", "--agent-id", name, "--zone", zone, "--agent-group", group, "--listen", address(port), "--advertised-address", url,
		"--control-plane", strings.Join(s.controlPlaneURLs(), ","),
		"--s3-endpoint", s.s3.Endpoint, "--s3-bucket", s.s3.Bucket, "--s3-region", s.s3.Region, "--s3-path-style",
		"--drain-deadline", drainDeadline.String(), "--drain-linger", drainLinger.String(),
		"--cors-origins", strings.Join(s.consoleOrigins(), ","),
	}
	args = append(args, s.config.ServiceFlags...)
	for _, flag := range s.config.AgentFlags {
		if name, _, _ := strings.Cut(flag, "="); !slices.ContainsFunc(flags, func(f string) bool { return strings.HasPrefix(f, name+"=") }) {
			args = append(args, "--"+flag)
		}
	}
	for _, flag := range flags {
		args = append(args, "--"+flag)
	}
	env := []string{"STREAMHOUSE_AGENT_KEY=" + key}
	if s.s3.AccessKey != "" {
		env = append(env, "STREAMHOUSE_S3_ACCESS_KEY="+s.s3.AccessKey, "STREAMHOUSE_S3_SECRET_KEY="+s.s3.SecretKey)
	}
	return &part{
		name: name, kind: kindAgent, url: url, zone: zone, group: group, ready: httpReady(url + "/readyz"),
		spec: child.Spec{
			Name: name, Path: s.config.program(agentProgram), LogFile: s.config.Dir.Log(name), Grace: agentGrace,
			Args: args, Env: environment(env...),
		},
	}
}
