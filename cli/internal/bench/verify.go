package bench

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/streamhouse/streamhouse/client"
)

// Verified is what came back of what was sent.
type Verified struct {
	Sent       int64 `json:"sent"`
	Read       int64 `json:"read"`
	Lost       int64 `json:"lost"`       // acknowledged, and not there
	Duplicated int64 `json:"duplicated"` // there more than once
	Unwanted   int64 `json:"unwanted"`   // there, although it was said not to be
	Disordered int64 `json:"disordered"` // before one of the same producer and partition that was sent earlier
}

// errVerify says that the cluster broke a promise.
var errVerify = errors.New("records are lost, duplicated, disordered, or there although they were refused: see verified")

// verifier knows what was read.
type verifier struct {
	payload *payload
	seen    [][]uint64 // by producer, a bit a record
	last    map[lane]int64
	result  Verified
}

type lane struct {
	producer  int
	topic     string
	partition int32
}

// verify reads the topics and compares.
func verify(ctx context.Context, sdk *client.Client, topics []string, loads []*load) (*Verified, error) {
	v := &verifier{payload: loads[0].payload, last: map[lane]int64{}}
	for _, l := range loads {
		v.seen = append(v.seen, make([]uint64, l.sent/64+1))
		v.result.Sent += l.sent
	}
	for _, topic := range topics {
		if err := v.read(ctx, sdk, topic); err != nil {
			return &v.result, fmt.Errorf("read %s back: %w", topic, err)
		}
	}
	for i, l := range loads {
		v.compare(i, l)
	}
	r := v.result
	if r.Lost+r.Duplicated+r.Unwanted+r.Disordered > 0 {
		return &r, errVerify
	}
	return &r, nil
}

func (v *verifier) read(ctx context.Context, sdk *client.Client, topic string) error {
	consumer, err := sdk.NewConsumer(ctx, topic, client.From(client.Beginning()), client.UntilEnd())
	if err != nil {
		return err
	}
	defer consumer.Close()
	for {
		records, err := consumer.Poll(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, r := range records {
			if err := v.take(r); err != nil {
				return err
			}
		}
	}
}

func (v *verifier) take(r *client.Record) error {
	producer, n, err := v.payload.readStamp(r.Value)
	if err != nil || producer >= len(v.seen) || n/64 >= int64(len(v.seen[producer])) {
		return errors.Join(fmt.Errorf("partition %d, offset %d: not a record of this run", r.Partition, r.Offset), err)
	}
	v.result.Read++
	at := lane{producer, r.Topic, r.Partition}
	if last, known := v.last[at]; known && n < last {
		v.result.Disordered++
	}
	v.last[at] = n
	word, bit := &v.seen[producer][n/64], uint64(1)<<(n%64)
	if *word&bit != 0 {
		v.result.Duplicated++
	}
	*word |= bit
	return nil
}

// compare looks at each record of a producer.
func (v *verifier) compare(i int, l *load) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range l.sent {
		there := v.seen[i][n/64]&(1<<(n%64)) != 0
		written, failed := l.failed[n]
		switch {
		case !failed && !there:
			v.result.Lost++
		case failed && there && written == client.SurelyNotWritten:
			v.result.Unwanted++
		}
	}
}
