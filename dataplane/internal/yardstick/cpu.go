package yardstick

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// CPUConfig of a measurement of the work on batches.
type CPUConfig struct {
	// RecordBytes of a value, 32 to 1 MiB; BatchBytes of the values of a batch, at least that and at most 8 MiB.
	RecordBytes int
	BatchBytes  int
	// Duration of each of the five parts, 10 ms to 1 min.
	Duration time.Duration
}

// Validate says what is out of bounds.
func (c CPUConfig) Validate() error {
	var faults []error
	if c.RecordBytes < 32 || c.RecordBytes > 1<<20 {
		faults = append(faults, errors.New("record-bytes: must be between 32 and 1 MiB"))
	}
	if c.BatchBytes < c.RecordBytes || c.BatchBytes > 8<<20 {
		faults = append(faults, errors.New("batch-bytes: must be between record-bytes and 8 MiB"))
	}
	if c.Duration < 10*time.Millisecond || c.Duration > time.Minute {
		faults = append(faults, errors.New("duration: must be between 10ms and 1m"))
	}
	return errors.Join(faults...)
}

// Speed of one kind of work; the package comment has the units.
type Speed struct {
	GBPerSecond      float64 `json:"gb_per_second"`
	CPUSecondsPerGiB float64 `json:"cpu_seconds_per_gib"`
}

// CPUResult is what one core can do.
type CPUResult struct {
	RecordBytes int     `json:"record_bytes"`
	BatchBytes  int     `json:"batch_bytes"`
	StoredBytes int     `json:"stored_bytes"`
	Ratio       float64 `json:"ratio"`
	Compress    Speed   `json:"compress"`
	Decompress  Speed   `json:"decompress"`
	CRC         Speed   `json:"crc"`
	Verify      Speed   `json:"verify"`
	VerifyFrame Speed   `json:"verify_frame"`
}

// CPU measures the work on batches, one kind after the other, on one core.
func CPU(c CPUConfig) (CPUResult, error) {
	if err := c.Validate(); err != nil {
		return CPUResult{}, err
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	builder, values, err := fill(c)
	if err != nil {
		return CPUResult{}, err
	}
	batch, err := builder.AppendBatch(nil, recordbatch.NoProducer())
	if err != nil {
		return CPUResult{}, err
	}
	w := work{builder: builder, batch: batch, out: make([]byte, 0, 2*len(batch)+1<<16), scratch: recordbatch.AcquireScratch()}
	defer w.scratch.Release()
	r := CPUResult{RecordBytes: c.RecordBytes, BatchBytes: values, StoredBytes: len(batch), Ratio: float64(values) / float64(len(batch))}
	for _, part := range []struct {
		into *Speed
		do   func() error
	}{
		{&r.Compress, w.compress},
		{&r.Decompress, w.decompress},
		{&r.CRC, w.crc},
		{&r.Verify, w.verify},
		{&r.VerifyFrame, w.verifyFrame},
	} {
		if *part.into, err = speed(c.Duration, values, part.do); err != nil {
			return CPUResult{}, fmt.Errorf("measure the work on batches: %w", err)
		}
	}
	return r, nil
}

// fill encodes JSON-like records, which compress about as log lines do, and returns how many bytes their values have.
func fill(c CPUConfig) (b *recordbatch.Builder, values int, err error) {
	r := rand.New(rand.NewPCG(1, 2)) // the same records in every run
	b = recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
	for i := int64(0); values < c.BatchBytes; i++ {
		v := fmt.Appendf(nil, `{"id":%d,"user":"user-%d","level":"info"`, r.Uint64N(1e9), r.IntN(5000))
		for len(v) < c.RecordBytes-20 {
			v = fmt.Appendf(v, `,"f%d":"%x"`, r.IntN(20), r.Uint32N(1024))
		}
		v = append(v, '}')
		if err := b.Append(1_700_000_000_000+i, nil, v, nil); err != nil {
			return nil, 0, err
		}
		values += len(v)
	}
	return b, values, nil
}

type work struct {
	builder    *recordbatch.Builder
	batch, out []byte
	scratch    *recordbatch.Scratch
	sum        uint32
}

func (w *work) compress() (err error) {
	w.out, err = w.builder.AppendBatch(w.out[:0], recordbatch.NoProducer())
	return err
}

func (w *work) decompress() error {
	_, err := recordbatch.Open(w.batch, recordbatch.Limits{}, w.scratch)
	return err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (w *work) crc() error {
	w.sum ^= crc32.Checksum(w.batch, castagnoli)
	return nil
}

func (w *work) verify() error {
	_, err := recordbatch.Verify(w.batch, recordbatch.Limits{}, w.scratch)
	return err
}

func (w *work) verifyFrame() error {
	_, err := recordbatch.VerifyFrame(w.batch, recordbatch.Limits{})
	return err
}

// speed repeats work on values of so many bytes, after one round that warms caches.
func speed(lasts time.Duration, values int, do func() error) (Speed, error) {
	if err := do(); err != nil {
		return Speed{}, err
	}
	before, err := cpuTime()
	if err != nil {
		return Speed{}, err
	}
	rounds, began := int64(0), time.Now()
	for time.Since(began) < lasts {
		for range 8 {
			if err := do(); err != nil {
				return Speed{}, err
			}
		}
		rounds += 8
	}
	elapsed := time.Since(began)
	after, err := cpuTime()
	bytes := rounds * int64(values)
	return Speed{GBPerSecond: float64(bytes) / 1e9 / elapsed.Seconds(), CPUSecondsPerGiB: perGiB(after-before, bytes)}, err
}
