package recordbatch_test

import (
	"fmt"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// A batch on its way: built by a producer, verified and stamped by the leader, read by a consumer.
func Example() {
	limits := recordbatch.Limits{}

	b := recordbatch.NewBuilder(recordbatch.LZ4, limits)
	for i := range 3 {
		if err := b.Append(1_700_000_000_000, []byte("key"), fmt.Appendf(nil, "value %d", i), nil); err != nil {
			fmt.Println(err) // TooLarge: build this batch, Reset, and append again
		}
	}
	batch, err := b.Build(recordbatch.NoProducer())
	if err != nil {
		fmt.Println(err)
	}

	scratch := recordbatch.AcquireScratch()
	defer scratch.Release()
	if _, err := recordbatch.Verify(batch, limits, scratch); err != nil {
		fmt.Println(err) // an *Error: refuse the batch
	}
	if err := recordbatch.Stamp(batch, 40, 1); err != nil {
		fmt.Println(err)
	}

	for batch, err := range recordbatch.Split(batch) {
		if err != nil {
			fmt.Println(err)
			return
		}
		info, err := recordbatch.Open(batch, limits, scratch)
		if err != nil {
			fmt.Println(err)
			return
		}
		var v recordbatch.View
		r := recordbatch.NewReader(info)
		for r.Next(&v) {
			fmt.Printf("%d %s=%s\n", v.Offset, v.Key, v.Value)
		}
		if r.Err() != nil {
			fmt.Println(r.Err())
		}
	}
	// Output:
	// 40 key=value 0
	// 41 key=value 1
	// 42 key=value 2
}
