package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// good is a server that will do.
func good() db.ServerSettingsRow {
	return db.ServerSettingsRow{VersionNum: 150004, Fsync: "on", FullPageWrites: "on", SynchronousCommit: "on"}
}

func TestP1_ServerThatForgetsCommitsIsRefused(t *testing.T) {
	t.Parallel()
	if warnings, err := judgeServer(good()); err != nil || len(warnings) > 0 {
		t.Fatalf("a good server: %v, %v", warnings, err)
	}
	for name, spoil := range map[string]func(*db.ServerSettingsRow){
		"fsync is off":              func(r *db.ServerSettingsRow) { r.Fsync = "off" },
		"full_page_writes is off":   func(r *db.ServerSettingsRow) { r.FullPageWrites = "off" },
		"synchronous_commit is off": func(r *db.ServerSettingsRow) { r.SynchronousCommit = "off" },
		"its version is 14":         func(r *db.ServerSettingsRow) { r.VersionNum = 140011 },
	} {
		row := good()
		spoil(&row)
		_, err := judgeServer(row)
		fault, ok := errors.AsType[*ServerFault](err)
		if !ok || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if fault.Unusable != strings.HasPrefix(name, "its version") {
			t.Errorf("%s: unusable %v", name, fault.Unusable)
		}
	}
}

func TestServerWhoseStandbyLagsIsWarnedOf(t *testing.T) {
	t.Parallel()
	for commit, warned := range map[string]bool{"on": false, "remote_apply": false, "remote_write": true, "local": true} {
		row := good()
		row.SynchronousStandbyNames, row.SynchronousCommit = "*", commit
		if warnings, err := judgeServer(row); err != nil || (len(warnings) > 0) != warned {
			t.Errorf("%s: %v, %v", commit, warnings, err)
		}
	}
}
