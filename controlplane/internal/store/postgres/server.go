package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// oldestServer is PostgreSQL 15, as server_version_num has it.
const oldestServer = 150000

// ServerFault says why a server must not keep the catalog.
type ServerFault struct {
	// Unusable: this cannot work. Else it works until the next crash, and P1 is lost then.
	Unusable bool
	// Faults, each with what to do.
	Faults []string
}

func (e *ServerFault) Error() string { return "PostgreSQL is not fit: " + strings.Join(e.Faults, "; ") }

// CheckServer looks at what commits rest on: the version, and whether what the server calls committed survives its crash (P1). Error: a
// *ServerFault, or the server is out of reach. Warnings are about what depends on how the operator fails over.
func (s *Store) CheckServer(ctx context.Context) (warnings []string, err error) {
	var row db.ServerSettingsRow
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		row, err = q.ServerSettings(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read server settings: %w", err)
	}
	return judgeServer(row)
}

func judgeServer(row db.ServerSettingsRow) (warnings []string, err error) {
	fault := &ServerFault{}
	if row.VersionNum < oldestServer {
		fault.Unusable = true
		fault.Faults = append(fault.Faults, fmt.Sprintf("its version is %d, the oldest that will do is 15: upgrade it", row.VersionNum/10000))
	}
	for _, setting := range []struct{ name, value string }{
		{"fsync", row.Fsync}, {"full_page_writes", row.FullPageWrites}, {"synchronous_commit", row.SynchronousCommit},
	} {
		if setting.value == "off" {
			fault.Faults = append(fault.Faults, setting.name+" is off: switch it on, also for this role and database")
		}
	}
	if len(fault.Faults) > 0 {
		return nil, fault
	}
	return serverWarnings(row), nil
}

// serverWarnings: a standby that may be promoted must have what was acknowledged. Whether one will be is not to be seen from here.
func serverWarnings(row db.ServerSettingsRow) (warnings []string) {
	waits := row.SynchronousCommit == "on" || row.SynchronousCommit == "remote_apply"
	if row.SynchronousStandbyNames != "" && !waits {
		warnings = append(warnings, "synchronous_commit is "+row.SynchronousCommit+
			": commits do not wait until a synchronous standby has them on disk, so promoting one loses records")
	}
	return warnings
}
