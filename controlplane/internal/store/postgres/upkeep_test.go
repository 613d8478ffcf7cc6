package postgres_test

import (
	"testing"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// about is a duration that began by PostgreSQL's clock some time before it was looked at.
func about(t testing.TB, what string, got, want time.Duration) {
	t.Helper()
	if got < want || got > want+time.Minute {
		t.Errorf("%s: %v, want %v and a little", what, got, want)
	}
}

// Each object that waits is counted where it stands in its life, and those of other agent groups with their own.
func TestUpkeepStates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{Jobs: store.JobConfig{DeletionGrace: 10 * time.Minute}})
	w.must(w.EnsureAgentGroup(t.Context(), "others"))
	w.must(w.EnsureAgentGroup(t.Context(), "idle"))
	w.topic("orders", 1)
	w.sql("UPDATE topics SET created_at = created_at - interval '2 hours'")
	w.sql(`INSERT INTO upkeep (agent_group, checkpoint_begun, checkpoint_finished, finished_at, shard_due_at)
		VALUES ('others', 3, 2, clock_timestamp() - interval '20 minutes', clock_timestamp() - interval '5 minutes')`)
	for key, life := range map[string]string{
		"others/1": "clock_timestamp() - interval '30 minutes', NULL, NULL, NULL", // waits for a checkpoint to begin
		"others/2": "clock_timestamp() - interval '40 minutes', NULL, NULL, NULL",
		"others/3": "clock_timestamp() - interval '50 minutes', NULL, 2, NULL", // might be deleted
		"others/4": "clock_timestamp() - interval '70 minutes', NULL, 3, NULL", // waits for a checkpoint to end
		"others/5": "clock_timestamp() - interval '90 minutes', NULL, 1, clock_timestamp()",
		"others/6": "NULL, clock_timestamp() - interval '60 minutes', NULL, NULL", // an orphan
		"others/7": "NULL, NULL, NULL, NULL",                                      // in use
		"idle/1":   "clock_timestamp(), NULL, NULL, NULL",
	} {
		w.sql(`INSERT INTO object_keys (key, unreferenced_at, tombstoned_at, freed_in, deleted_at, session_id, size_bytes, outcome, reference_count)
			SELECT $1::text, l.unreferenced_at::timestamptz, l.tombstoned_at::timestamptz, l.freed_in::bigint, l.deleted_at::timestamptz, gen_random_uuid(), 1,
				CASE WHEN l.tombstoned_at IS NULL THEN ''::bytea END, (l.unreferenced_at IS NULL AND l.tombstoned_at IS NULL)::int
			FROM (SELECT `+life+`) AS l(unreferenced_at, tombstoned_at, freed_in, deleted_at)`, key)
	}
	w.sql(`INSERT INTO jobs (agent_group, kind, subject, job_id, output_id, session_id, claimed_at)
		SELECT 'others', 3, n::text, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), clock_timestamp() - n * interval '1 minute' FROM generate_series(1, 4) n`)
	states, err := w.UpkeepStates(t.Context())
	w.must(err)
	if len(states) != 3 || states[0].AgentGroup != "default" || states[1].AgentGroup != "idle" || states[2].AgentGroup != "others" {
		t.Fatalf("states: %+v", states)
	}
	about(t, "no checkpoint since the first topic", states[0].CheckpointAge, 2*time.Hour)
	if idle := states[1]; idle.CheckpointAge != 0 || idle.Freed.Objects != 1 || idle.Dated.Objects+idle.Dead.Objects != 0 || idle.DeletionOverdue != 0 || len(idle.Jobs) != 0 {
		t.Errorf("idle: %+v", idle)
	}
	others := states[2]
	if others.Freed.Objects != 2 || others.Dated.Objects != 2 || others.Dead.Objects != 1 || others.Jobs[controlplanev1.JobKind_JOB_KIND_SWEEP].Jobs != 4 {
		t.Errorf("others: %+v", others)
	}
	about(t, "checkpoint", others.CheckpointAge, 20*time.Minute)
	about(t, "sweep", others.SweepBehind, 5*time.Minute)
	about(t, "freed", others.Freed.Oldest, 40*time.Minute)
	about(t, "dated", others.Dated.Oldest, 70*time.Minute)
	about(t, "dead", others.Dead.Oldest, 60*time.Minute)
	about(t, "overdue", others.DeletionOverdue, 40*time.Minute)
	about(t, "jobs", others.Jobs[controlplanev1.JobKind_JOB_KIND_SWEEP].Oldest, 4*time.Minute)
}

// Estimates follow what a table holds; nothing else of the server is among them.
func TestTableSizes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	w.sql(`INSERT INTO producers (partition_id, producer_id, producer_epoch, batches)
		SELECT 1, q, 0, '\x00000000000000010000000000000000' FROM generate_series(1, 5000) q`)
	eventually(t, "producers are counted", func() bool {
		sizes, err := w.TableSizes(t.Context())
		w.must(err)
		known := map[string]store.TableSize{}
		for _, size := range sizes {
			known[size.Name] = size
		}
		if _, foreign := known["pg_class"]; foreign || known["segments"].Name == "" {
			t.Fatalf("tables: %+v", sizes)
		}
		return known["producers"].Rows == 5000 && known["producers"].Bytes > 5000*16
	})
}
