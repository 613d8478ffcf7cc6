package client

import (
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// View is a record whose bytes belong to its batch; see [Consumer.PollBatch].
type View = recordbatch.View

// Batch is records of one partition in the order of their offsets. It is valid until the next call of the consumer that made it.
type Batch struct {
	Topic     string
	Partition int32

	reader    recordbatch.Reader
	from, end int64 // the first offset wanted, and the first not wanted any more; -1: none
	err       *Error
}

// Next reads the next record into v. It returns false at the end and at the first error; Err tells. What v holds is valid as long as the
// batch.
func (b *Batch) Next(v *View) bool {
	for b.reader.Next(v) {
		switch {
		case v.Offset < b.from: // stored in one batch with those that are wanted
		case b.end >= 0 && v.Offset >= b.end:
			return false
		default:
			return true
		}
	}
	if err := b.reader.Err(); err != nil {
		b.err = failure(ReasonDamagedData, "%v", err).at(b.Topic, b.Partition).wrap(err)
	}
	return false
}

// Err is the error that ended the batch early, or nil.
func (b *Batch) Err() error {
	if b.err != nil {
		return b.err
	}
	return nil
}

// open makes the first batch of f readable. Its records lie in scratch, or in memory of their own without one, or in the batch itself.
func (k *Consumer) open(f *fetched, scratch *recordbatch.Scratch) (Batch, recordbatch.Info, *Error) {
	raw, rest, err := recordbatch.Next(f.batches)
	f.batches = rest
	var info recordbatch.Info
	if err == nil {
		info, err = recordbatch.Open(raw, recordbatch.Limits{MaxRecordBytes: maxRecordBytes}, scratch)
	}
	if err != nil {
		return Batch{}, info, failure(ReasonDamagedData, "%v", err).at(k.topic.name, f.cursor.partition).wrap(err)
	}
	if scratch == nil && info.Codec() == recordbatch.None {
		f.held.keep() // the records that are made of it stay valid
	}
	return Batch{
		Topic: k.topic.name, Partition: f.cursor.partition, reader: recordbatch.NewReader(info), from: f.from, end: f.cursor.end,
	}, info, nil
}

// decode makes records of all that b has, which stay valid: b's memory is theirs.
func decode(b *Batch, info *recordbatch.Info) ([]*Record, *Error) {
	const least = 7 // bytes of a record: the count in the header is only a claim
	count := min(int(info.RecordCount), len(info.Records)/least)
	records := make([]Record, 0, count)
	pointers := make([]*Record, 0, count)
	var keys headerKeys
	var v View
	for b.Next(&v) {
		records = append(records, Record{
			Topic: b.Topic, Partition: b.Partition, Offset: v.Offset, Timestamp: time.UnixMilli(v.Timestamp),
			Key: v.Key, Value: v.Value, Headers: keys.headers(&v),
		})
		pointers = append(pointers, &records[len(records)-1]) // records never grows: a batch has at most count
	}
	return pointers, b.err
}

// headerKeys are the header keys of the record before: most records of a batch have the same.
type headerKeys []Header

func (k *headerKeys) headers(v *View) []Header {
	if v.HeaderCount() == 0 {
		return nil
	}
	hs := make([]Header, 0, v.HeaderCount())
	for key, value := range v.Headers() {
		h := Header{Value: value}
		if i := len(hs); i < len(*k) && (*k)[i].Key == string(key) {
			h.Key = (*k)[i].Key
		} else {
			h.Key = string(key)
		}
		hs = append(hs, h)
	}
	*k = hs
	return hs
}
