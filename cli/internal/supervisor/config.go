package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/datadir"
)

// Config of a cluster on this machine.
type Config struct {
	Dir datadir.Dir
	// Bin has the programs.
	Bin string
	// Zones, each with AgentsPerZone agents of AgentGroup.
	Zones         []string
	AgentsPerZone int
	AgentGroup    string
	// ControlPlanes is how many replicas.
	ControlPlanes int
	// SessionDuration and SuspectAfter are the control plane's.
	SessionDuration time.Duration
	SuspectAfter    time.Duration
	// Restart parts that die.
	Restart bool
	// PortsFrom is the first port; 0: any free ones, remembered.
	PortsFrom int
	// DatabaseURL of a PostgreSQL that runs already; empty: start one.
	DatabaseURL string
	// S3 that exists already; empty Endpoint: start one.
	S3 datadir.S3
	// AgentFlags are more flags for every agent, "name=value" each, the dashes left out.
	AgentFlags []string
	// S3PutDelay and S3MD5 make the S3 server that is started slower: it holds every PUT back for so long, and computes MD5 as S3 does.
	S3PutDelay time.Duration
	S3MD5      bool
	// TracesURL is the collector of dev itself, shown in dev.json; empty: there is none.
	TracesURL string
	// ServiceFlags are more flags for every control plane and every agent, complete.
	ServiceFlags []string
}

// Bounds that keep a typing error from filling the machine.
const (
	maxControlPlanes = 9
	maxAgents        = 100
)

var (
	zoneName  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)
	groupName = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
)

// Validate says what is wrong, all of it.
func (c Config) Validate() error {
	faults := []error{
		between("agents-per-zone", c.AgentsPerZone, 0, maxAgents),
		between("controlplanes", c.ControlPlanes, 1, maxControlPlanes),
		between("ports-from", c.PortsFrom, 0, 65000),
		between("agents", c.AgentsPerZone*len(c.Zones), 0, maxAgents),
	}
	for i, zone := range c.Zones {
		if !zoneName.MatchString(zone) {
			faults = append(faults, fmt.Errorf("--zones: %q must be 1 to 100 of letters, digits, . _ and -", zone))
		}
		if slices.Contains(c.Zones[:i], zone) {
			faults = append(faults, fmt.Errorf("--zones: %s stands there twice", zone))
		}
	}
	if !groupName.MatchString(c.AgentGroup) {
		faults = append(faults, fmt.Errorf("--agent-group: %q must be 1 to 40 of a-z, 0-9 and -", c.AgentGroup))
	}
	for _, flag := range c.AgentFlags {
		faults = append(faults, checkAgentFlag(flag))
	}
	if c.S3.Endpoint != "" && (c.S3PutDelay != 0 || c.S3MD5) {
		faults = append(faults, errors.New("--s3-put-delay and --s3-md5 are for the S3 server that is started here: leave --s3-endpoint out"))
	}
	if c.S3PutDelay < 0 || c.S3PutDelay > maxPutDelay {
		faults = append(faults, fmt.Errorf("--s3-put-delay: %v is not between 0 and %v", c.S3PutDelay, maxPutDelay))
	}
	if c.S3.Endpoint == "" && (c.S3.AccessKey != "" || c.S3.SecretKey != "") {
		faults = append(faults, errors.New("--s3-access-key and --s3-secret-key need --s3-endpoint: the S3 server that is started here has keys of its own"))
	}
	return errors.Join(faults...)
}

const maxPutDelay = 10 * time.Second

// ownFlags of an agent are those that dev itself gives.
var ownFlags = []string{
	"agent-id", "zone", "agent-group", "listen", "advertised-address", "control-plane", "agent-key", "config",
	"s3-endpoint", "s3-bucket", "s3-region", "s3-path-style", "s3-access-key", "s3-secret-key",
}

var agentFlag = regexp.MustCompile(`^([a-z][a-z0-9-]*)=(.*)$`)

// checkAgentFlag says what is wrong with a flag; whether agents know it, only they can say.
func checkAgentFlag(flag string) error {
	parts := agentFlag.FindStringSubmatch(flag)
	if parts == nil {
		return fmt.Errorf("--agent-flag: %q must be NAME=VALUE, without dashes", flag)
	}
	if slices.Contains(ownFlags, parts[1]) {
		return fmt.Errorf("--agent-flag: %s is set by dev itself", parts[1])
	}
	return nil
}

func between(flag string, value, least, most int) error {
	if value < least || value > most {
		return fmt.Errorf("--%s: %d is not between %d and %d", flag, value, least, most)
	}
	return nil
}

// Programs that are started.
const (
	controlPlaneProgram = "streamhouse-controlplane"
	agentProgram        = "streamhouse-agent"
	s3Program           = "streamhouse-devs3"
)

func (c Config) program(name string) string { return filepath.Join(c.Bin, name) }

// checkPrograms says which programs are missing.
func (c Config) checkPrograms() error {
	needed := []string{controlPlaneProgram, agentProgram}
	if c.S3.Endpoint == "" {
		needed = append(needed, s3Program)
	}
	var missing []string
	for _, name := range needed {
		if info, err := os.Stat(c.program(name)); err != nil || info.IsDir() || info.Mode().Perm()&0o111 == 0 {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s: no %s there: run `make build`, or name the folder of the programs in STREAMHOUSE_BIN", c.Bin, strings.Join(missing, ", "))
	}
	return nil
}

// flagTime bounds the question which flags agents know.
const flagTime = 10 * time.Second

// checkAgentFlags asks the agents' program whether it knows these flags.
func (c Config) checkAgentFlags(ctx context.Context, flags []string) error {
	if len(flags) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, flagTime)
	defer cancel()
	help, err := exec.CommandContext(ctx, c.program(agentProgram), "serve", "--help").Output()
	if err != nil {
		return fmt.Errorf("ask %s for its flags: %w", agentProgram, err)
	}
	for _, flag := range flags {
		if err := checkAgentFlag(flag); err != nil {
			return err
		}
		name, _, _ := strings.Cut(flag, "=")
		if !regexp.MustCompile(`(?m)^ .*--(\[no-\])?` + regexp.QuoteMeta(name) + `([\s=]|$)`).Match(help) {
			return fmt.Errorf("--agent-flag: agents have no flag --%s; `%s serve --help` lists theirs", name, agentProgram)
		}
	}
	return nil
}

// heartbeat is the interval that fits both durations: a session needs two heartbeats at least.
func (c Config) heartbeat() time.Duration {
	return max(min(time.Second, c.SessionDuration/4, c.SuspectAfter/2), 10*time.Millisecond)
}
