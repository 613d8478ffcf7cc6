// Package produce is the front door of the write path: it checks what producers send, finds the leader, hands batches in or forwards them
// one hop, waits while nobody leads, and says what became of each entry.
// Nothing here assigns offsets (ingest does) or keeps anything between calls.
//
// Promises: P6 (every refusal says surely not, possibly or before; nothing that may have arrived is sent again), P5 and section 6 (a refusal
// that rests on a leader's memory is said only after the catalog has shown that its epoch is current), P7.
// Memory is bounded at the door, by gate.go, before a message is read.
// Read: produce.go, gate.go, check.go, batch.go, place.go, admit.go, forward.go, answer.go, murmur.go, measure.go.
package produce

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/streamhouse/streamhouse/dataplane/internal/callers"
	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/peer"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	"github.com/streamhouse/streamhouse/dataplane/internal/traffic"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
	"github.com/streamhouse/streamhouse/serve/tracing"
)

// Desk is where batches are handed in; a term.Desk is one.
type Desk interface {
	Append(partition.ID, *ingest.Batch) ingest.Decision
	AppendAll([]partition.ID, []*ingest.Batch) []ingest.Decision
	Learn(p partition.ID, epoch partition.Epoch, producerID int64, state *controlplanev1.ProducerState)
	Demand(partition.ID)
	Expect(p partition.ID, epoch partition.Epoch) bool
	Leads(partition.ID) (partition.Epoch, bool)
	Lately(partition.ID) bool
	Alive() bool
	Session() string
	// BufferedBytes is the size of the batches whose fate is open.
	BufferedBytes() int64
	Changed() (terms, tenures <-chan struct{})
}

// Lookups asks the catalog, with lookups that start after the question; a lookup.Coalescer is one.
type Lookups interface {
	Ask(ctx context.Context, queries ...lookup.Query) ([]lookup.Answer, error)
}

// Catalog is what else the front door asks the control plane; package catalog's Client is one.
type Catalog interface {
	LookupProducers(context.Context, *controlplanev1.LookupProducersRequest) (*controlplanev1.LookupProducersResponse, error)
}

// Config of a front door; all is required.
type Config struct {
	// Self is this agent's id; Me is the agent as others should reach it.
	Self string
	Me   func() route.Agent
	// AgentGroup is the only one whose callers are served (P7).
	AgentGroup string
	Desk       Desk
	Table      *route.Table
	Catalog    Catalog
	Lookups    Lookups
	Peers      *peer.Peers
	// Traffic counts; nil: nothing does.
	Traffic *traffic.Book
	// Verify is how far batches are verified; default: Full.
	Verify Level
	// Gate has let the calls in.
	Gate *Gate
	// Meter measures.
	Meter metric.Meter
	// Halted tells whether the catalog is halted; nil: it never is.
	Halted func() bool
	// Timeout bounds a Produce whose caller set no deadline, or a longer one.
	Timeout time.Duration
	Log     *slog.Logger
}

// Service answers Produce and ForwardProduce.
type Service struct {
	Config
	measures measures
	full     atomic.Int64  // batches refused because the ledger was full
	turns    chan *turn    // one a core: whoever has it verifies or builds a batch
	stopping chan struct{} // closed once: nobody waits any more
	once     sync.Once
	forwards atomic.Int64
}

// New returns a front door. An error comes from the meter.
func New(config Config) (*Service, error) {
	cores := runtime.GOMAXPROCS(0)
	s := &Service{Config: config, turns: make(chan *turn, cores), stopping: make(chan struct{})}
	for range cores {
		s.turns <- newTurn()
	}
	return s, s.register(config.Meter)
}

// Forwards is how many calls went to other agents.
func (s *Service) Forwards() int64 { return s.forwards.Load() }

// Stop ends the waiting for leaders: the process is about to exit.
func (s *Service) Stop() { s.once.Do(func() { close(s.stopping) }) }

// Produce appends batches; see the proto.
func (s *Service) Produce(ctx context.Context, req *dataplanev1.ProduceRequest) (*dataplanev1.ProduceResponse, error) {
	res, err := s.produce(ctx, req, hop{forward: !req.GetNoForward(), first: true})
	if err != nil {
		return nil, err
	}
	if len(res.GetOutcomes()) == 1 {
		if r := res.GetOutcomes()[0].GetRefusal(); r != nil {
			return nil, s.callError(ctx, r)
		}
	}
	return res, nil
}

// ForwardProduce is a Produce that another agent took for this one; it is never forwarded again.
func (s *Service) ForwardProduce(ctx context.Context, req *dataplanev1.ForwardProduceRequest) (*dataplanev1.ForwardProduceResponse, error) {
	if req.GetProduce() == nil {
		return nil, surelyNot(refusal.New(refusalv1.Reason_REASON_INVALID, "produce is required"))
	}
	res, err := s.produce(ctx, req.GetProduce(), hop{epoch: req.GetEpoch()})
	if err != nil {
		return nil, err
	}
	return &dataplanev1.ForwardProduceResponse{Produce: res}, nil
}

// hop says where a request stands.
type hop struct {
	forward bool            // the caller wants it forwarded
	first   bool            // it may be forwarded at all
	epoch   partition.Epoch // in which this agent leads the partition of all entries, says who forwarded it; 0: nothing is said
	// successor: it may wait here for a partition that placement has given to this agent and another still leads.
	successor bool
}

func (s *Service) produce(ctx context.Context, req *dataplanev1.ProduceRequest, h hop) (*dataplanev1.ProduceResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	if err := callers.Admit(ctx, s.AgentGroup); err != nil {
		return nil, err
	}
	entries, err := s.check(ctx, req)
	if err != nil {
		return nil, err
	}
	if s.Halted != nil && s.Halted() {
		return nil, surelyNot(haltedRefusal())
	}
	s.count(ctx, req, entries, h)
	traced(ctx, entries)
	if h.epoch > 0 {
		s.Expect(Granted{entries[0].partition, h.epoch})
	}
	s.placeAll(ctx, entries, h)
	if again := s.recreated(ctx, req, entries); len(again) > 0 {
		s.placeAll(ctx, again, h)
	}
	if h.first {
		s.answered(ctx, entries)
	}
	res := &dataplanev1.ProduceResponse{Outcomes: make([]*dataplanev1.ProduceOutcome, len(entries))}
	for i, e := range entries {
		if e.appended {
			s.Traffic.Load(e.partition, len(e.batch.Bytes))
		}
		res.Outcomes[i] = e.outcome
	}
	return res, nil
}

// traced has the flush of these entries know of the call that brought them, if that is traced.
func traced(ctx context.Context, entries []*entry) {
	span := tracing.Of(ctx)
	if span == nil {
		return
	}
	size := 0
	for _, e := range entries {
		e.batch.Span = span
		size += len(e.batch.Bytes)
	}
	span.SetAttributes(attribute.Int("streamhouse.batches", len(entries)), attribute.Int("streamhouse.size_bytes", size))
	if len(entries) == 1 {
		span.SetAttributes(attribute.String("streamhouse.topic", entries[0].topic.Name), attribute.Int("streamhouse.partition", int(entries[0].partition.Number)))
	}
}

// count counts what came in.
func (s *Service) count(ctx context.Context, req *dataplanev1.ProduceRequest, entries []*entry, h hop) {
	size := 0
	for _, e := range entries {
		size += len(e.batch.Bytes)
	}
	if h.first {
		s.Traffic.Produced(traffic.ClientZone(ctx, req.GetClientZone()), size)
	} else {
		s.Traffic.Received(size)
	}
}

// placeAll brings every entry to its outcome. Most are taken at once, all together. The partitions of the others go side by side, the
// entries of one in order.
func (s *Service) placeAll(ctx context.Context, entries []*entry, h hop) {
	slow := s.takeAll(entries)
	var others sync.WaitGroup
	for _, of := range slow {
		others.Go(func() { s.place(ctx, of[0].partition, of, h) })
	}
	defer others.Wait()
	for _, e := range entries {
		if !e.slow && e.pending != nil { // slow first: the others are being placed
			s.fate(ctx, e)
		}
	}
	for _, of := range byPartition(entries, func(e *entry) bool { return !e.slow && e.outcome == nil }) {
		others.Go(func() { s.place(ctx, of[0].partition, of, h) })
	}
}

// takeAll hands all entries in, and returns those of the partitions of which not all were taken.
func (s *Service) takeAll(entries []*entry) (slow [][]*entry) {
	ps, bs := make([]partition.ID, len(entries)), make([]*ingest.Batch, len(entries))
	for i, e := range entries {
		ps[i], bs[i] = e.partition, e.batch
		if e.appended {
			return byPartition(entries, func(e *entry) bool { e.slow = true; return true })
		}
	}
	stuck := map[partition.ID]bool{}
	for i, d := range s.Desk.AppendAll(ps, bs) {
		if d.Verdict.Final() {
			entries[i].epoch = d.Epoch
			s.taken(entries[i], d)
			continue
		}
		stuck[ps[i]] = true
	}
	if len(stuck) == 0 {
		return nil
	}
	return byPartition(entries, func(e *entry) bool {
		e.slow = stuck[e.partition]
		return e.slow && e.outcome == nil
	})
}

// byPartition groups the entries that are wanted, in order.
func byPartition(entries []*entry, wanted func(*entry) bool) [][]*entry {
	at := map[partition.ID]int{}
	var groups [][]*entry
	for _, e := range entries {
		if !wanted(e) {
			continue
		}
		i, ok := at[e.partition]
		if !ok {
			i = len(groups)
			at[e.partition] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], e)
	}
	return groups
}

// recreated finds the entries whose topic turned out to be deleted while another has taken its name since. Surely nothing of them was
// written, so they may go to the new one.
func (s *Service) recreated(ctx context.Context, req *dataplanev1.ProduceRequest, entries []*entry) []*entry {
	var again []*entry
	for i, e := range entries {
		name := req.GetEntries()[i].GetTopicName()
		if name == "" || e.outcome.GetRefusal().GetReason() != refusalv1.Reason_REASON_UNKNOWN_TOPIC {
			continue
		}
		topic, err := s.Table.ResolveTopic(ctx, name, "")
		if err != nil || topic.ID == e.topic.ID || !topic.Has(e.partition.Number) {
			continue
		}
		e.topic, e.partition, e.outcome = topic, topic.Partition(e.partition.Number), nil
		again = append(again, e)
	}
	return again
}
