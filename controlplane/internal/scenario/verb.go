package scenario

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// verbs are all that stories can do.
func verbs() map[string]verb {
	return map[string]verb{
		"group": doGroup, "create-group": doCreateGroup, "delete-group": doDeleteGroup, "groups": doGroups, "key": doKey, "revoke": doRevoke,
		"register": doRegister, "heartbeat": doHeartbeat, "deregister": doDeregister, "check": doCheck,
		"wait": doWait, "clock": doClock, "judge": doJudge, "settle": doSettle, "agents": doAgents,
		"topic": doTopic, "update": doUpdate, "delete": doDelete, "purge": doPurge, "topics": doTopics, "resolve": doResolve,
		"retain": doRetain, "remove": doRemove, "records": doRecords,
		"acquire": doAcquire, "release": doRelease, "leases": doLeases, "history": doHistory,
		"commit": doCommit, "tombstone": doTombstone, "lookup": doLookup, "producer": doProducer, "ids": doIDs,
		"report": doReport, "describe": doDescribe, "status": doStatus, "drain": doDrain, "transfer": doTransfer, "balance": doBalance,
		"explain": doExplain, "lead": doLead,
		"watch": doWatch, "hold": doHold,
		"claim": doClaim, "finish": doFinish, "gone": doGone, "sweep": doSweep, "checkpoint": doCheckpoint, "forget": doForget,
		"announce": doAnnounce, "compact": doCompact, "clean": doClean, "cleaned": doCleaned,
		"show": doShow, "restart": doRestart, "catalog": doCatalog, "adopt": doAdopt,
	}
}

// speaker is the process that the command names first, and the agent group of the key that it uses: its own, unless "key" says otherwise.
func (w *World) speaker(c command) (process, store.AgentGroup, error) {
	name, err := c.word(0)
	if err != nil {
		return process{}, "", err
	}
	p, err := w.process(name)
	return p, store.AgentGroup(c.text("key", string(p.group))), err
}

func doRegister(w *World, c command) (call, error) {
	id, err := c.word(0)
	if err != nil {
		return nil, err
	}
	request := &controlplanev1.RegisterRequest{
		AgentId: id, AgentGroup: c.text("group", "default"), Zone: c.text("zone", "z1"), Address: "http://" + id, Version: "1",
	}
	if request.CapacityBytesPerSecond, err = c.number("capacity", 0); err != nil {
		return nil, err
	}
	if r := c.text("registration", ""); r != "" {
		request.RegistrationId = uuid.NewSHA1(uuid.Nil, []byte(r)).String()
	}
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.Register(ctx, store.AgentGroup(c.text("key", request.GetAgentGroup())), request)
		if err != nil {
			return "", err
		}
		session := uuid.MustParse(response.GetSessionId())
		if known := w.sessionName(session.String()); known != "?" { // of an earlier attempt
			return "session " + known, nil
		}
		p := process{
			name: fmt.Sprintf("%s/%d", id, len(w.processes[id])+1), id: session, group: store.AgentGroup(request.GetAgentGroup()),
		}
		w.processes[id], w.last = append(w.processes[id], p), p.id
		return "session " + p.name, nil
	}, c.known("group", "zone", "key", "registration", "capacity")
}

func doHeartbeat(w *World, c command) (call, error) {
	p, group, err := w.speaker(c)
	if err != nil {
		return nil, err
	}
	request := &controlplanev1.HeartbeatRequest{SessionId: p.id.String(), Draining: c.has("draining"), Unfit: c.has("unfit")}
	if settled := c.text("settled", ""); settled != "" {
		if _, err := w.key(settled, p); err != nil {
			return nil, err
		}
		request.SettledObjectCounter = int64(w.counters[settled]) + 1
	}
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.Heartbeat(ctx, group, request)
		if err != nil {
			return "", err
		}
		if response.GetDrain() {
			return p.name + " lives, is asked to drain", nil
		}
		return p.name + " lives", nil
	}, c.known("key", "settled")
}

func doDeregister(w *World, c command) (call, error) {
	p, group, err := w.speaker(c)
	return func(ctx context.Context) (string, error) {
		_, err := w.catalog.Deregister(ctx, group, &controlplanev1.DeregisterRequest{SessionId: p.id.String()})
		return "", err
	}, err
}

func doCheck(w *World, c command) (call, error) {
	p, group, err := w.speaker(c)
	return func(ctx context.Context) (string, error) {
		return p.name + " lives", w.catalog.CheckSession(ctx, group, p.id)
	}, err
}

func doAgents(w *World, _ command) (call, error) {
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.ListAgents(ctx, store.EveryAgentGroup, &controlplanev1.ListAgentsRequest{})
		if err != nil {
			return "", err
		}
		var lines []string
		for _, a := range response.GetAgents() {
			lines = append(lines, fmt.Sprintf("%s in %s of %s: %s, leads %d",
				w.sessionName(a.GetSessionId()), a.GetZone(), a.GetAgentGroup(), state(a), a.GetLeaseCount()))
		}
		return strings.Join(lines, "\n"), nil
	}, nil
}

// state is "live", "suspect", "draining" or "ended (why)".
func state(a *controlplanev1.Agent) string {
	text := strings.ToLower(strings.TrimPrefix(a.GetState().String(), "AGENT_STATE_"))
	if a.GetEndReason() != "" {
		text += " (" + a.GetEndReason() + ")"
	}
	return text
}

func doHold(w *World, c command) (call, error) {
	name, err := c.word(0)
	if err != nil {
		return nil, err
	}
	var row Row
	if p, err := w.process(name); err == nil {
		row.Session = p.id
	} else {
		at, err := w.place(name)
		if err != nil {
			return nil, err
		}
		row.Topic, row.Number = at.topic, at.number
	}
	return func(ctx context.Context) (string, error) { return "", w.catalog.Hold(ctx, row) }, nil
}
