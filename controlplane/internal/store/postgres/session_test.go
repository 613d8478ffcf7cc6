package postgres_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

func TestRegister_SupersedesTheLiveSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{SessionDuration: 20 * time.Second, HeartbeatInterval: 2 * time.Second})
	first := w.register("a")
	second := w.register("a")
	wantReason(t, first.heartbeat(), refusalv1.Reason_REASON_SESSION_SUPERSEDED)
	w.must(second.heartbeat())
	wantReason(t, w.CheckSession(t.Context(), group, first.session), refusalv1.Reason_REASON_SESSION_SUPERSEDED)
	w.must(w.CheckSession(t.Context(), group, second.session))
	second.deregister()
	second.deregister() // idempotent
	wantReason(t, second.heartbeat(), refusalv1.Reason_REASON_SESSION_EXPIRED)
	unknown := &agent{world: w, group: group, session: uuid.New()}
	wantReason(t, unknown.heartbeat(), refusalv1.Reason_REASON_SESSION_EXPIRED)
	unknown.deregister()
}

func TestP7_RegisterStaysInItsAgentGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	w.must(w.EnsureAgentGroup(t.Context(), "blue"))
	w.must(w.EnsureAgentGroup(t.Context(), "blue"))
	wantReason(t, w.EnsureAgentGroup(t.Context(), "Blue/"), refusalv1.Reason_REASON_INVALID)
	blue := w.registerIn("blue", "b", "zone-a")
	request := &controlplanev1.RegisterRequest{AgentId: "b", AgentGroup: "default"}
	_, err := w.Register(t.Context(), group, request)
	wantReason(t, err, refusalv1.Reason_REASON_WRONG_AGENT_GROUP)
	_, err = w.Register(t.Context(), "blue", request)
	wantReason(t, err, refusalv1.Reason_REASON_WRONG_AGENT_GROUP)
	_, err = w.Register(t.Context(), "red", &controlplanev1.RegisterRequest{AgentId: "r", AgentGroup: "red"})
	wantReason(t, err, refusalv1.Reason_REASON_UNKNOWN_AGENT_GROUP)
	// Another agent group's key does not speak for the session.
	stranger := &agent{world: w, group: group, session: blue.session}
	wantReason(t, stranger.heartbeat(), refusalv1.Reason_REASON_SESSION_EXPIRED)
	stranger.deregister()
	w.must(blue.heartbeat())
}

func TestHeartbeat_KeepsStatesThatNeverGoBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	w.must(a.beat(true, false))
	w.must(a.beat(false, true))
	agents, err := w.ListAgents(t.Context(), group, &controlplanev1.ListAgentsRequest{})
	w.must(err)
	if state := agents.GetAgents()[0].GetState(); state != controlplanev1.AgentState_AGENT_STATE_DRAINING {
		t.Fatalf("state %v", state)
	}
	if n := w.number("SELECT count(*) FROM sessions WHERE unfit"); n != 1 {
		t.Fatal("unfit was lost")
	}
	w.must(a.beat(false, false))
	if n := w.number("SELECT count(*) FROM sessions WHERE unfit OR NOT draining"); n != 0 {
		t.Fatal("fitness must come back, draining must stay")
	}
}

// An idle heartbeat changes one row and no revision, and stays a HOT update.
func TestHeartbeat_IdleIsOneSmallWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	before, err := w.Revisions(t.Context())
	w.must(err)
	for range 20 {
		w.must(a.heartbeat())
	}
	after, err := w.Revisions(t.Context())
	w.must(err)
	if before[group] != after[group] {
		t.Fatalf("revision went from %d to %d", before[group], after[group])
	}
	w.Close() // statistics arrive when a connection ends
	eventually(t, "statistics", func() bool {
		return w.number("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'sessions'") >= 20
	})
	if cold := w.number("SELECT n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'sessions'"); cold != 0 {
		t.Fatalf("%d heartbeats were no HOT updates", cold)
	}
}

func TestP10_SlowHeartbeatSavesItsSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	a.silence(60)
	w.present()
	// The heartbeat has written, and its COMMIT is slow.
	conn := w.connection()
	tx, err := conn.Begin(t.Context())
	w.must(err)
	_, err = tx.Exec(t.Context(), "UPDATE sessions SET last_heartbeat_at = clock_timestamp() WHERE session_id = $1 AND ended_at IS NULL", a.session)
	w.must(err)
	ended := make(chan int, 1)
	go func() {
		n, err := w.EndSilent(t.Context())
		if err != nil {
			t.Error(err)
		}
		ended <- n
	}()
	eventually(t, "the expirer waits", func() bool { return w.waiting() > 0 })
	w.must(tx.Commit(t.Context()))
	if n := <-ended; n != 0 {
		t.Fatalf("%d sessions ended though a heartbeat was committed", n)
	}
	w.must(a.heartbeat())
}

func TestP10_HeartbeatAfterTheExpirerFindsTheFact(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	conn := w.connection()
	tx, err := conn.Begin(t.Context())
	w.must(err)
	_, err = tx.Exec(t.Context(), "UPDATE sessions SET ended_at = clock_timestamp(), end_reason = 'expired' WHERE session_id = $1", a.session)
	w.must(err)
	answered := make(chan error, 1)
	go func() { answered <- a.heartbeat() }()
	eventually(t, "the heartbeat waits", func() bool { return w.waiting() > 0 })
	w.must(tx.Commit(t.Context()))
	wantReason(t, <-answered, refusalv1.Reason_REASON_SESSION_EXPIRED)
}

func TestP10_NobodyIsJudgedWhileTheJudgesWereAbsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	a.silence(60)
	judge := func(want int) {
		t.Helper()
		n, err := w.EndSilent(t.Context())
		w.must(err)
		if n != want {
			t.Fatalf("%d sessions ended, want %d", n, want)
		}
	}
	w.sql("UPDATE pulse SET beat_at = clock_timestamp() - interval '4 s', quiet_until = '2000-01-01'")
	judge(0) // an old pulse
	w.sql("UPDATE pulse SET beat_at = clock_timestamp() + interval '1 h'")
	judge(0) // a pulse from the future
	pulse, err := w.Beat(t.Context())
	w.must(err)
	if quiet := pulse.QuietUntil.Sub(pulse.Now); quiet < 29*time.Second || quiet > 30*time.Second {
		t.Fatalf("quiet for %v, want one session duration", quiet)
	}
	judge(0) // quiet
	if n, err := w.SuspectSilent(t.Context(), time.Second); err != nil || n != 0 {
		t.Fatalf("%d suspected, %v", n, err)
	}
	w.present()
	judge(1)
	judge(0) // it is a fact already
	wantReason(t, a.heartbeat(), refusalv1.Reason_REASON_SESSION_EXPIRED)
}

func TestBeat_ClampsHeartbeatsFromTheFuture(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	a.silence(-3600) // the clock has jumped back by an hour
	w.sql("UPDATE pulse SET beat_at = clock_timestamp() + interval '1 h'")
	_, err := w.Beat(t.Context())
	w.must(err)
	if n := w.number("SELECT count(*) FROM sessions WHERE last_heartbeat_at > clock_timestamp()"); n != 0 {
		t.Fatal("a dead session would live for another hour")
	}
}

func TestBeat_OfAnIdleCatalogIsNotQuiet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	pulse, err := w.Beat(t.Context())
	w.must(err)
	if pulse.QuietUntil.After(pulse.Now) {
		t.Fatal("no session lives: there is nobody to protect")
	}
}

func TestSuspect_IsClearedByTheNextHeartbeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	a.silence(3)
	w.present()
	n, err := w.SuspectSilent(t.Context(), 2*time.Second)
	w.must(err)
	if n != 1 {
		t.Fatalf("%d suspected", n)
	}
	if n, err := w.SuspectSilent(t.Context(), 2*time.Second); n != 0 || err != nil {
		t.Fatalf("suspected again: %d, %v", n, err)
	}
	if n, err := w.EndSilent(t.Context()); n != 0 || err != nil {
		t.Fatalf("ended before its duration: %d, %v", n, err)
	}
	w.must(a.heartbeat())
	if w.number("SELECT count(*) FROM sessions WHERE suspect") != 0 {
		t.Fatal("still suspect")
	}
}
