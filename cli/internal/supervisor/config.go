package supervisor

import (
	"errors"
	"fmt"
	"os"
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
	if c.S3.Endpoint == "" && (c.S3.AccessKey != "" || c.S3.SecretKey != "") {
		faults = append(faults, errors.New("--s3-access-key and --s3-secret-key need --s3-endpoint: the S3 server that is started here has keys of its own"))
	}
	return errors.Join(faults...)
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

// heartbeat is the interval that fits both durations: a session needs two heartbeats at least.
func (c Config) heartbeat() time.Duration {
	return max(min(time.Second, c.SessionDuration/4, c.SuspectAfter/2), 10*time.Millisecond)
}
