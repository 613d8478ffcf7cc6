package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// doClaim: "claim a checkpoint delete sweep as=j": a asks for a job of these kinds, which is called j from then on. The first question of an agent
// group is always answered with "ask again"; it is asked again.
func doClaim(w *World, c command) (call, error) {
	p, group, err := w.speaker(c)
	if err != nil {
		return nil, err
	}
	request := &controlplanev1.ClaimJobRequest{SessionId: p.id.String()}
	for _, kind := range c.words[1:] {
		number, known := controlplanev1.JobKind_value["JOB_KIND_"+strings.ToUpper(kind)]
		if !known {
			return nil, fmt.Errorf("there is no job of kind %s", kind)
		}
		request.Kinds = append(request.Kinds, controlplanev1.JobKind(number))
	}
	label := c.text("as", "j")
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.ClaimJob(ctx, group, request)
		if err == nil && response.GetRetryAfterMs() > 0 {
			response, err = w.catalog.ClaimJob(ctx, group, request)
		}
		if err != nil {
			return "", err
		}
		if response.GetJob() == nil {
			return "nothing to do", nil
		}
		w.jobs[label] = response.GetJob().GetJobId()
		w.outputs[response.GetJob().GetJobId()] = response.GetJob().GetOutputId()
		return label + ": " + w.job(response.GetJob()), nil
	}, c.known("as", "key")
}

func (w *World) job(job *controlplanev1.Job) string {
	text := ""
	switch work := job.GetWork().(type) {
	case *controlplanev1.Job_Checkpoint:
		text = fmt.Sprintf("checkpoint %d", work.Checkpoint.GetNumber())
	case *controlplanev1.Job_Delete:
		text = "delete " + w.keyLabels(work.Delete.GetKeys())
	case *controlplanev1.Job_Sweep:
		text = "sweep " + work.Sweep.GetPrefix()
	case *controlplanev1.Job_Compact:
		text = "compact " + w.keyLabels(work.Compact.GetObjectKeys())
		if announced := work.Compact.GetOutput(); announced != nil {
			text += fmt.Sprintf(", %s announced", w.labels[announced.GetObjectKey()])
		}
	case *controlplanev1.Job_KeyCompact:
		text = "key_compact " + w.keyCompact(work.KeyCompact)
	}
	if job.GetTakenOver() {
		text += " (taken over)"
	}
	return text
}

func (w *World) keyLabels(keys []string) string {
	var labels []string
	for _, key := range keys {
		labels = append(labels, w.labels[key])
	}
	slices.Sort(labels)
	return strings.Join(labels, " ")
}

// jobCall is the job that the command names second, and the keys after it.
func (w *World) jobCall(c command) (group store.AgentGroup, job string, keys []string, err error) {
	_, group, err1 := w.speaker(c)
	label, err2 := c.word(1)
	if err := errors.Join(err1, err2); err != nil {
		return "", "", nil, err
	}
	job, known := w.jobs[label]
	if !known {
		return "", "", nil, fmt.Errorf("there is no job %s", label)
	}
	for _, name := range c.words[2:] {
		if name == "given-up" {
			continue
		}
		key, err := w.anyKey(group, name)
		if err != nil {
			return "", "", nil, err
		}
		keys = append(keys, key)
	}
	return group, job, keys, c.known("key", "foreign", "incarnation")
}

// anyKey is that of "o1@a", of what a job has written: "c1", of "description:orders", or of what is none of ours: "stranger:x".
func (w *World) anyKey(group store.AgentGroup, name string) (string, error) {
	for key, label := range w.labels {
		if label == name {
			return key, nil
		}
	}
	if topic, described := strings.CutPrefix(name, "description:"); described {
		id, err := w.topicID(topic)
		key := fmt.Sprintf("%s/topics/%s", group, id)
		w.labels[key] = name
		return key, err
	}
	if file, strange := strings.CutPrefix(name, "stranger:"); strange {
		return string(group) + "/" + file, nil
	}
	return w.key(name, nobody)
}

// doFinish: "finish a j", "finish a j given-up", "finish a j given-up foreign=5 incarnation=0": the bucket's newest checkpoint is this one, of another
// catalog than this.
func doFinish(w *World, c command) (call, error) {
	group, job, _, err1 := w.jobCall(c)
	number, err2 := c.number("foreign", 0)
	incarnation, err3 := c.number32("incarnation", 0)
	request := &controlplanev1.FinishJobRequest{JobId: job, GivenUp: c.has("given-up")}
	if number > 0 {
		stranger := uuid.UUID{1}
		request.Foreign = &controlplanev1.CheckpointHead{
			AgentGroup: string(group), Incarnation: incarnation, Number: number, CatalogId: stranger[:], CheckpointId: stranger[:],
		}
	}
	return func(ctx context.Context) (string, error) {
		_, err := w.catalog.FinishJob(ctx, group, request)
		return "", err
	}, errors.Join(err1, err2, err3)
}

// doGone: "gone a j o1@a": the objects are deleted.
func doGone(w *World, c command) (call, error) {
	group, job, keys, err := w.jobCall(c)
	return func(ctx context.Context) (string, error) {
		_, err := w.catalog.ConfirmDeleted(ctx, group, &controlplanev1.ConfirmDeletedRequest{JobId: job, Keys: keys})
		return "", err
	}, err
}

// doSweep: "sweep a j o1@a o2@a": these were found in the bucket.
func doSweep(w *World, c command) (call, error) {
	group, job, keys, err := w.jobCall(c)
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.SweepKeys(ctx, group, &controlplanev1.SweepKeysRequest{JobId: job, Keys: keys})
		if err != nil {
			return "", err
		}
		return strings.TrimSpace("dead: " + w.keyLabels(response.GetDead())), nil
	}, err
}

// doCheckpoint: "checkpoint a j" reads all that is to be written.
func doCheckpoint(w *World, c command) (call, error) {
	group, job, _, err := w.jobCall(c)
	return func(ctx context.Context) (string, error) {
		var lines []string
		request := &controlplanev1.ReadCheckpointRequest{JobId: job}
		for more := true; more; more = request.GetPageToken() != "" {
			response, err := w.catalog.ReadCheckpoint(ctx, group, request)
			if err != nil {
				return "", err
			}
			lines = append(lines, w.checkpointPage(response.GetPage())...)
			request.PageToken = response.GetNextPageToken()
		}
		slices.Sort(lines) // ids are random
		return strings.Join(lines, "\n"), nil
	}, err
}

func (w *World) checkpointPage(page *controlplanev1.CheckpointPage) (lines []string) {
	if head := page.GetHead(); head != nil {
		lines = append(lines, fmt.Sprintf("checkpoint %d of %s, incarnation %d", head.GetNumber(), head.GetAgentGroup(), head.GetIncarnation()))
	}
	for _, t := range page.GetTopics() {
		text := fmt.Sprintf("topic %s, %d partitions", w.topicName(uuid.UUID(t.GetTopicId())), t.GetPartitionCount())
		if t.GetDeleted() {
			text += ", deleted"
		}
		lines = append(lines, text)
	}
	for _, p := range page.GetPartitions() {
		lines = append(lines, fmt.Sprintf("%s epoch=%d log_start=%d high_watermark=%d",
			w.placeName(p.GetTopicId(), p.GetPartition()), p.GetEpoch(), p.GetLogStartOffset(), p.GetHighWatermark()))
	}
	return lines
}

// doForget forgets what is settled and gone.
func doForget(w *World, _ command) (call, error) {
	return func(ctx context.Context) (string, error) {
		forgotten, err := w.catalog.ForgetObjects(ctx, "")
		return fmt.Sprintf("%d forgotten", forgotten.Objects), err
	}, nil
}
