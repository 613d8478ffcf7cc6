package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/e2e/history"
)

// callTimeout is how long a caller waits for an answer.
const callTimeout = 10 * time.Second

// startCaller begins to send one plain record a call, as a program without an SDK would: each answer is awaited, nothing is sent again, and after
// an error the next call goes to the next agent.
func (w *Workload) startCaller(ctx context.Context, t testing.TB, name string, i int) {
	t.Helper()
	agents := make([]*Agent, len(w.cluster.Agents))
	for k, a := range w.cluster.Agents {
		agents[k] = newAgent(w.cluster.HTTP(), a.URL, w.cluster.ClientKey)
	}
	_, described, err := w.cluster.Admin(t).DescribeTopic(ctx, w.options.Topic)
	if err != nil {
		t.Fatalf("describe %s: %v", w.options.Topic, err)
	}
	partitions := int32(len(described))
	w.producing.Go(func() {
		random := rand.New(rand.NewPCG(uint64(i), 3))
		for sequence, at := 0, i; ctx.Err() == nil; sequence++ {
			write := history.Write{ID: fmt.Sprintf("%s/%d", name, sequence), Producer: name, Sequence: sequence, Partition: random.Int32N(partitions)}
			if !w.call(ctx, agents[at%len(agents)], write) {
				at++
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(random.Int64N(int64(time.Second / time.Duration(w.options.Rate))))):
			}
		}
	})
}

// call sends one record and notes what was said.
func (w *Workload) call(ctx context.Context, agent *Agent, write history.Write) (stored bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	offset, err := agent.ProduceAnywhere(ctx, w.options.Topic, write.Partition, write.ID)
	write.Offset = offset
	switch {
	case err == nil:
		write.Outcome = history.Acknowledged
	case SurelyNot(Refusal(err)):
		write.Outcome = history.SurelyNot
	default:
		write.Outcome = history.Possibly
	}
	w.noted(write, err)
	return err == nil
}
