package recordbatch_test

import (
	"testing"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

func TestSmoke(t *testing.T) {
	b := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
	for i := range 1000 {
		if err := b.Append(int64(1000+i), []byte("key"), []byte("value value value value"), []recordbatch.RecordHeader{{Key: "a", Value: nil}}); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := b.Build(recordbatch.NoProducer())
	if err != nil {
		t.Fatal(err)
	}
	var s recordbatch.Scratch
	info, err := recordbatch.Verify(raw, recordbatch.Limits{}, &s)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := recordbatch.AppendRecords(nil, info)
	t.Log(len(raw), info.UncompressedBytes(), len(rs), err, rs[999])
}
