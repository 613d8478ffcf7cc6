package bench

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// Kinds of values.
const (
	PayloadJSON   = "json"   // shrinks to less than half, as events do
	PayloadRandom = "random" // does not shrink
)

// A value may carry a stamp: who sent it, and its number there.
const (
	producerDigits = 4
	numberDigits   = 12
	stampBytes     = producerDigits + 1 + numberDigits
	jsonStampAt    = len(`{"id":"`)
)

// Bounds of a value. Topics take 1 MiB with the key.
const (
	minRecordBytes = 64
	maxRecordBytes = 1_000_000
)

// payload makes values, the same in every run.
type payload struct {
	values  [][]byte
	keys    [][]byte
	stampAt int
	scratch []byte
}

// Enough values that no 64 KiB block repeats itself, and few enough that they fit anywhere.
const (
	payloadBytes = 4 << 20
	leastValues  = 8
	mostValues   = 4096
	keyCount     = 4096
)

func newPayload(kind string, size int) *payload {
	random := rand.New(rand.NewPCG(1, 2)) // the same values in every run
	p := &payload{values: make([][]byte, min(max(payloadBytes/size, leastValues), mostValues)), scratch: make([]byte, size)}
	for i := range p.values {
		if kind == PayloadJSON {
			p.values[i] = event(random, size)
		} else {
			p.values[i] = noise(random, size)
		}
	}
	if kind == PayloadJSON {
		p.stampAt = jsonStampAt
	}
	for i := range keyCount {
		p.keys = append(p.keys, fmt.Appendf(nil, "key-%06d", i))
	}
	return p
}

// fork is a payload with the same values, for another goroutine.
func (p *payload) fork() *payload {
	return &payload{values: p.values, keys: p.keys, stampAt: p.stampAt, scratch: make([]byte, len(p.scratch))}
}

func (p *payload) value(n int64) []byte { return p.values[n%int64(len(p.values))] }

func (p *payload) key(n int64) []byte { return p.keys[n*7919%keyCount] } // a prime step: neighbours differ

// stamped is a value that says who sent it. It is overwritten by the next call.
func (p *payload) stamped(producer int, n int64) []byte {
	copy(p.scratch, p.value(n))
	stamp := p.scratch[p.stampAt : p.stampAt+stampBytes]
	digits(stamp[:producerDigits], int64(producer))
	stamp[producerDigits] = '-'
	digits(stamp[producerDigits+1:], n)
	return p.scratch
}

func digits(into []byte, n int64) {
	for i := len(into) - 1; i >= 0; i-- {
		into[i] = byte('0' + n%10)
		n /= 10
	}
}

// readStamp is the reverse of stamped.
func (p *payload) readStamp(value []byte) (producer int, n int64, err error) {
	if len(value) < p.stampAt+stampBytes {
		return 0, 0, fmt.Errorf("a value of %d bytes was not sent by this run", len(value))
	}
	before, after, found := bytes.Cut(value[p.stampAt:p.stampAt+stampBytes], []byte("-"))
	if found {
		if producer, err = strconv.Atoi(string(before)); err == nil {
			n, err = strconv.ParseInt(string(after), 10, 64)
		}
	}
	if !found || err != nil {
		return 0, 0, fmt.Errorf("a value that begins with %.40q was not sent by this run", value)
	}
	return producer, n, nil
}

var (
	names  = []string{"page_view", "add_to_cart", "checkout", "search", "login", "logout", "purchase", "refund"}
	places = []string{"eu-west-1", "us-east-1", "ap-south-1", "eu-central-1", "us-west-2"}
	words  = []string{
		"alpha", "order", "invoice", "customer", "shipment", "pending", "delivered", "warehouse", "quantity", "discount", "premium",
		"standard", "express", "mobile", "desktop", "referral", "campaign", "summer", "winter", "newsletter", "account", "balance",
	}
)

// event is a JSON object of so many bytes, of fields as applications write them: numbers, identifiers, and words.
func event(r *rand.Rand, size int) []byte {
	b := fmt.Appendf(nil, `{"id":"%0*d-%0*d"`, producerDigits, 0, numberDigits, 0)
	field := func(n int) []byte {
		switch n % 6 {
		case 0:
			return fmt.Appendf(nil, `,"event_%d":"%s"`, n, names[r.IntN(len(names))])
		case 1:
			return fmt.Appendf(nil, `,"user_%d":%d`, n, r.IntN(1e6))
		case 2:
			return fmt.Appendf(nil, `,"session_%d":"%016x"`, n, r.Uint64())
		case 3:
			return fmt.Appendf(nil, `,"region_%d":"%s"`, n, places[r.IntN(len(places))])
		case 4:
			return fmt.Appendf(nil, `,"amount_%d":%.2f`, n, r.Float64()*1000)
		}
		return fmt.Appendf(nil, `,"note_%d":"%s %s %s"`, n, words[r.IntN(len(words))], words[r.IntN(len(words))], words[r.IntN(len(words))])
	}
	for n := 0; ; n++ {
		next := field(n)
		if len(b)+len(next)+len(`,"_":""}`) > size {
			break
		}
		b = append(b, next...)
	}
	b = append(b, `,"_":"`...)
	for len(b) < size-2 {
		b = append(b, byte('a'+r.IntN(26)))
	}
	return append(b, '"', '}')[:size]
}

// noise begins with room for a stamp.
func noise(r *rand.Rand, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// batch builds a batch of as many records as fit into so many bytes, uncompressed.
func (p *payload) batch(size int, keyed bool) (batch []byte, records int, err error) {
	b := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
	for n := int64(0); n == 0 || b.UncompressedBytes()+len(p.scratch)+recordOverhead <= size; n++ {
		var key []byte
		if keyed {
			key = p.key(n)
		}
		if err := b.Append(batchTime, key, p.value(n), nil); err != nil {
			return nil, 0, fmt.Errorf("build a batch: %w", err)
		}
	}
	batch, err = b.Build(recordbatch.NoProducer())
	return bytes.Clone(batch), b.Count(), err
}

const (
	recordOverhead = 32                // bytes of a record's framing and key, about
	batchTime      = 1_767_225_600_000 // ms since 1970: the start of 2026
)
