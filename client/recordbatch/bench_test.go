package recordbatch_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// jsonValues returns values of about size bytes that compress as log lines do.
func jsonValues(size int) [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	values := make([][]byte, 4096)
	for i := range values {
		v := fmt.Appendf(nil, `{"id":%d,"user":"user-%d","level":"info"`, r.Uint64N(1e9), r.IntN(5000))
		for len(v) < size-20 {
			v = fmt.Appendf(v, `,"f%d":"%x"`, r.IntN(20), r.Uint32N(4096))
		}
		values[i] = append(v, '}')
	}
	return values
}

const benchBytes = 1 << 20 // of values in a batch

func fill(tb testing.TB, b *recordbatch.Builder, values [][]byte) int {
	tb.Helper()
	b.Reset()
	raw := 0
	for i := 0; raw < benchBytes; i++ {
		v := values[i%len(values)]
		if err := b.Append(1_700_000_000_000+int64(i), nil, v, nil); err != nil {
			tb.Fatal(err)
		}
		raw += len(v)
	}
	return raw
}

func eachSize(b *testing.B, run func(b *testing.B, values [][]byte)) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			values := jsonValues(size)
			b.ReportAllocs()
			run(b, values)
		})
	}
}

func perRecord(b *testing.B, records int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(records), "ns/record")
}

func BenchmarkEncode(b *testing.B) {
	eachSize(b, func(b *testing.B, values [][]byte) {
		builder := recordbatch.NewBuilder(recordbatch.None, recordbatch.Limits{})
		b.SetBytes(int64(fill(b, builder, values)))
		for b.Loop() {
			fill(b, builder, values)
		}
		perRecord(b, builder.Count())
	})
}

func BenchmarkCompress(b *testing.B) {
	eachSize(b, func(b *testing.B, values [][]byte) {
		builder := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
		raw := fill(b, builder, values)
		b.SetBytes(int64(raw))
		var batch []byte
		for b.Loop() {
			batch, _ = builder.Build(recordbatch.NoProducer())
		}
		b.ReportMetric(float64(raw)/float64(len(batch)), "ratio")
		perRecord(b, builder.Count())
	})
}

func built(b *testing.B, codec recordbatch.Codec, values [][]byte) ([]byte, int) {
	builder := recordbatch.NewBuilder(codec, recordbatch.Limits{})
	b.SetBytes(int64(fill(b, builder, values)))
	batch, err := builder.Build(recordbatch.NoProducer())
	if err != nil {
		b.Fatal(err)
	}
	return batch, builder.Count()
}

func BenchmarkVerify(b *testing.B) {
	eachSize(b, func(b *testing.B, values [][]byte) {
		batch, records := built(b, recordbatch.LZ4, values)
		var scratch recordbatch.Scratch
		for b.Loop() {
			if _, err := recordbatch.Verify(batch, recordbatch.Limits{}, &scratch); err != nil {
				b.Fatal(err)
			}
		}
		perRecord(b, records)
	})
}

func BenchmarkVerifyFrame(b *testing.B) {
	eachSize(b, func(b *testing.B, values [][]byte) {
		batch, records := built(b, recordbatch.LZ4, values)
		for b.Loop() {
			if _, err := recordbatch.VerifyFrame(batch, recordbatch.Limits{}); err != nil {
				b.Fatal(err)
			}
		}
		perRecord(b, records)
	})
}

func BenchmarkIterate(b *testing.B) {
	eachSize(b, func(b *testing.B, values [][]byte) {
		batch, records := built(b, recordbatch.LZ4, values)
		var scratch recordbatch.Scratch
		for b.Loop() {
			info, err := recordbatch.Open(batch, recordbatch.Limits{}, &scratch)
			if err != nil {
				b.Fatal(err)
			}
			var v recordbatch.View
			r := recordbatch.NewReader(info)
			for r.Next(&v) {
			}
			if r.Err() != nil {
				b.Fatal(r.Err())
			}
		}
		perRecord(b, records)
	})
}

func BenchmarkDecodeStructs(b *testing.B) {
	eachSize(b, func(b *testing.B, values [][]byte) {
		batch, n := built(b, recordbatch.LZ4, values)
		var scratch recordbatch.Scratch
		var records []recordbatch.Record
		for b.Loop() {
			info, err := recordbatch.Open(batch, recordbatch.Limits{}, &scratch)
			if err != nil {
				b.Fatal(err)
			}
			if records, err = recordbatch.AppendRecords(records[:0], info); err != nil {
				b.Fatal(err)
			}
		}
		perRecord(b, n)
	})
}
