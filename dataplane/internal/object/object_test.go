package object

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the golden file; explain every byte that changed")

const goldenPath = "testdata/v1.golden"

func uuid(first byte) (u UUID) {
	for i := range u {
		u[i] = first + byte(i)
	}
	return u
}

var (
	goldenKey      = Key{AgentGroup: "default", Incarnation: 3, Session: uuid(0xa0), Counter: 0x0102030405060708}
	goldenSegments = []Segment{
		{
			TopicID: uuid(0x10), Partition: 7, Epoch: 3<<23 + 9, BaseOffset: 1_000, RecordCount: 20,
			MinTimestampMs: -1, MaxTimestampMs: 1_700_000_000_123, TenureFirstOffset: 900,
		},
		{
			TopicID: uuid(0x20), Partition: 0, Epoch: 1, BaseOffset: 0, RecordCount: 1,
			MinTimestampMs: 5, MaxTimestampMs: 5, TenureFirstOffset: 0,
		},
	}
	goldenBatches = [][][]byte{{[]byte("first batch,"), []byte("second batch")}, {[]byte("lone batch")}}
)

func build(t testing.TB, key Key, segments []Segment, batches [][][]byte) Sealed {
	t.Helper()
	b, err := NewBuilder(key)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range segments {
		if _, err := b.Append(s, partsOf(batches[i])...); err != nil {
			t.Fatal(err)
		}
	}
	size := b.Size()
	sealed, err := b.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed.whole()) != size || sealed.SizeBytes != int64(size) {
		t.Fatalf("size %d was foretold, it is %d", size, sealed.SizeBytes)
	}
	return sealed
}

func partsOf(batches [][]byte) []Part {
	parts := make([]Part, len(batches))
	for i, b := range batches {
		parts[i] = PartOf(b)
	}
	return parts
}

func (s Sealed) whole() []byte { return bytes.Join(s.Body, nil) }

func golden(t testing.TB) Sealed { return build(t, goldenKey, goldenSegments, goldenBatches) }

func TestGoldenFile(t *testing.T) {
	t.Parallel()
	body := golden(t).whole()
	if *update {
		if err := os.WriteFile(goldenPath, body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenPath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(body, want) {
		t.Fatalf("format version 1 changed:\n%s\nwant\n%s", hex.Dump(body), hex.Dump(want))
	}
}

// Each row of the tables in doc.go, against the golden file.
func TestGoldenFileRows(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile(goldenPath)
	if err != nil {
		t.Fatal(err)
	}
	const first, lone = "first batch,second batch", "lone batch"
	segmentsEnd := 8 + len(first) + len(lone)
	footer := body[segmentsEnd:]
	segment := func(n int) []byte { return footer[76+80*n:] }
	trailer := body[len(body)-16:]
	u16, u32, u64 := binary.BigEndian.AppendUint16, binary.BigEndian.AppendUint32, binary.BigEndian.AppendUint64
	minusOne := bytes.Repeat([]byte{0xff}, 8)

	for _, row := range []struct {
		part   string
		bytes  []byte
		offset int
		want   []byte
	}{
		{"head: magic", body, 0, []byte{0x89, 0x53, 0x48, 0x4f, 0x42, 0x4a}},
		{"head: version", body, 6, u16(nil, 1)},
		{"segments", body, 8, []byte(first + lone)},
		{"footer: group length", footer, 0, []byte{7}},
		{"footer: group", footer, 1, append([]byte("default"), make([]byte, 33)...)},
		{"footer: zero", footer, 41, make([]byte, 3)},
		{"footer: incarnation", footer, 44, u32(nil, 3)},
		{"footer: session", footer, 48, goldenKey.Session[:]},
		{"footer: counter", footer, 64, u64(nil, 0x0102030405060708)},
		{"footer: segments", footer, 72, u32(nil, 2)},
		{"segment: topic id", segment(0), 0, goldenSegments[0].TopicID[:]},
		{"segment: partition", segment(0), 16, u32(nil, 7)},
		{"segment: epoch", segment(0), 20, u32(nil, 3<<23+9)},
		{"segment: base offset", segment(0), 24, u64(nil, 1000)},
		{"segment: record count", segment(0), 32, u32(nil, 20)},
		{"segment: size", segment(0), 36, u32(nil, uint32(len(first)))},
		{"segment: position", segment(0), 40, u64(nil, 8)},
		{"segment: least timestamp", segment(0), 48, minusOne},
		{"segment: greatest timestamp", segment(0), 56, u64(nil, 1_700_000_000_123)},
		{"segment: tenure", segment(0), 64, u64(nil, 900)},
		{"segment: checksum", segment(0), 72, u32(nil, Checksum([]byte(first)))},
		{"segment: zero", segment(0), 76, make([]byte, 4)},
		{"second segment: topic id", segment(1), 0, goldenSegments[1].TopicID[:]},
		{"second segment: position", segment(1), 40, u64(nil, uint64(8+len(first)))},
		{"trailer: footer size", trailer, 0, u32(nil, 76+2*80)},
		{"trailer: checksum", trailer, 4, u32(nil, Checksum(footer[:76+2*80]))},
		{"trailer: version", trailer, 8, u16(nil, 1)},
		{"trailer: magic", trailer, 10, []byte("SHFOOT")},
	} {
		if got := row.bytes[row.offset : row.offset+len(row.want)]; !bytes.Equal(got, row.want) {
			t.Errorf("%s: % x, want % x", row.part, got, row.want)
		}
	}
	if want := segmentsEnd + 76 + 2*80 + 16; len(body) != want {
		t.Errorf("%d bytes, want %d", len(body), want)
	}
	if sum := Checksum([]byte("123456789")); sum != 0xe3069283 {
		t.Errorf("checksum of the check string is %08x: not CRC-32C", sum)
	}
}

// Any object reads back as it was written, from all of it and from its tail; a full buffer is not copied.
func TestP9_FooterSaysWhatWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		key, segments, batches := drawObject(rt)
		b, err := NewBuilder(key)
		if err != nil {
			rt.Fatal(err)
		}
		for i := range segments {
			if segments[i], err = b.Append(segments[i], partsOf(batches[i])...); err != nil {
				rt.Fatal(err)
			}
		}
		sealed, err := b.Seal()
		if err != nil {
			rt.Fatal(err)
		}
		if &sealed.Body[1][0] != &batches[0][0][0] || sealed.CRC32C != Checksum(sealed.whole()) {
			rt.Fatal("copied, or wrong checksum")
		}
		want := Footer{Key: key, Segments: segments}
		whole := sealed.whole()
		parsed, err := Parse(sealed.whole())
		if err != nil || !reflect.DeepEqual(parsed, want) || !slices.Equal(sealed.Segments, segments) {
			rt.Fatalf("parsed %+v, want %+v, %v", parsed, want, err)
		}
		if err := parsed.Verify(sealed.whole()); err != nil {
			rt.Fatal(err)
		}
		for i, s := range parsed.Segments {
			if got := whole[s.BytePosition:][:s.SizeBytes]; !bytes.Equal(got, bytes.Join(batches[i], nil)) {
				rt.Fatalf("segment %d: %q", i, got)
			}
		}
		read, err := ReadFooter(t.Context(), bucket{key.String(): sealed.whole()}, key.String())
		if err != nil || !reflect.DeepEqual(read, want) {
			rt.Fatalf("read %+v, want %+v, %v", read, want, err)
		}
	})
}

func drawObject(rt *rapid.T) (Key, []Segment, [][][]byte) {
	key := drawKey(rt)
	n := rapid.IntRange(1, 1200).Draw(rt, "segments")
	segments, batches := make([]Segment, n), make([][][]byte, n)
	for i := range segments {
		base := rapid.Int64Range(0, 1<<40).Draw(rt, "base")
		least := rapid.Int64().Draw(rt, "least timestamp")
		segments[i] = Segment{
			TopicID: uuid(byte(i / 10)), Partition: int32(i), Epoch: rapid.Int32Range(1, math.MaxInt32).Draw(rt, "epoch"),
			BaseOffset: base, RecordCount: rapid.Int32Range(1, math.MaxInt32).Draw(rt, "count"),
			MinTimestampMs: least, MaxTimestampMs: rapid.Int64Min(least).Draw(rt, "greatest timestamp"),
			TenureFirstOffset: rapid.Int64Range(0, base).Draw(rt, "tenure"),
		}
		batches[i] = [][]byte{{byte(i)}, bytes.Repeat([]byte{byte(i)}, i%90)}
	}
	return key, segments, batches
}

// bucket is what ReadFooter needs of one, with the real one's answers.
type bucket map[string][]byte

var errNoObject = errors.New("no such object")

func (b bucket) GetTail(_ context.Context, key string, dst []byte) (int, int64, error) {
	body, ok := b[key]
	if !ok {
		return 0, 0, errNoObject
	}
	return copy(dst, body[max(0, len(body)-len(dst)):]), int64(len(body)), nil
}

func (b bucket) GetRange(_ context.Context, key string, position int64, dst []byte) error {
	copy(dst, b[key][position:])
	return nil
}

func TestReadFooterChecksTheKey(t *testing.T) {
	t.Parallel()
	sealed := golden(t)
	other := sealed.Key
	other.Counter++
	_, err := ReadFooter(t.Context(), bucket{other.String(): sealed.whole()}, other.String())
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), sealed.Key.String()) {
		t.Errorf("got %v", err)
	}
	if _, err := ReadFooter(t.Context(), bucket{}, "none"); !errors.Is(err, errNoObject) {
		t.Errorf("got %v", err)
	}
	for _, n := range []int{0, 1, 15, 16, 100} {
		b := bucket{sealed.Key.String(): sealed.whole()[len(sealed.whole())-n:]}
		if _, err := ReadFooter(t.Context(), b, sealed.Key.String()); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestUnknownVersionIsRefused(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]func([]byte) int{
		"head":    func([]byte) int { return 7 },
		"trailer": func(b []byte) int { return len(b) - 7 },
	} {
		body := golden(t).whole()
		body[at(body)] = 2
		var version *VersionError
		if _, err := Parse(body); !errors.As(err, &version) || version.Version != 2 || errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every damaged byte and every cut is noticed: in head, footer and trailer by Parse, in segments by Verify.
func TestDamageIsNoticed(t *testing.T) {
	t.Parallel()
	whole := golden(t).whole()
	for i := range whole {
		body := bytes.Clone(whole)
		body[i] ^= 0x10
		f, err := Parse(body)
		if err == nil {
			err = f.Verify(body)
		}
		var version *VersionError
		if !errors.Is(err, ErrCorrupt) && !errors.As(err, &version) {
			t.Errorf("byte %d: %v", i, err)
		}
		if _, err := Parse(whole[:i]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	if _, err := Parse(append(bytes.Clone(whole), 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte more: %v", err)
	}
}

// reseal makes the checksum of a changed footer right again, so that only the checks behind it are left.
func reseal(body []byte) []byte {
	trailer := body[len(body)-trailerSize:]
	size := int(binary.BigEndian.Uint32(trailer))
	if footer := len(body) - trailerSize - size; footer >= 0 {
		binary.BigEndian.PutUint32(trailer[4:], Checksum(body[footer:len(body)-trailerSize]))
	}
	return body
}

// A right checksum does not make a footer true: each field is checked.
func TestFooterFieldsAreChecked(t *testing.T) {
	t.Parallel()
	footer := func(b []byte) []byte { return b[len(b)-trailerSize-footerHeaderSize-2*segmentEntrySize:] }
	for name, lie := range map[string]func(f, first, second []byte){
		"group length 0":        func(f, _, _ []byte) { f[0] = 0 },
		"group length 41":       func(f, _, _ []byte) { f[0] = 41 },
		"group length 255":      func(f, _, _ []byte) { f[0] = 255 },
		"group characters":      func(f, _, _ []byte) { f[1] = '/' },
		"group shorter":         func(f, _, _ []byte) { f[0] = 6 },
		"padding":               func(f, _, _ []byte) { f[43] = 1 },
		"incarnation":           func(f, _, _ []byte) { f[46] = 1 },
		"fewer segments":        func(f, _, _ []byte) { f[75] = 1 },
		"no segments":           func(f, _, _ []byte) { f[75] = 0 },
		"many segments":         func(f, _, _ []byte) { f[72] = 0xff },
		"negative partition":    func(_, s, _ []byte) { s[16] = 0x80 },
		"epoch 0":               func(_, _, s []byte) { s[23] = 0 },
		"negative epoch":        func(_, s, _ []byte) { s[20] = 0x80 },
		"negative base offset":  func(_, s, _ []byte) { s[24] = 0x80 },
		"offset overflow":       func(_, s, _ []byte) { copy(s[24:], "\x7f\xff\xff\xff\xff\xff\xff\xff") },
		"no records":            func(_, s, _ []byte) { s[35] = 0 },
		"no bytes":              func(_, s, _ []byte) { s[39] = 0 },
		"negative size":         func(_, s, _ []byte) { s[36] = 0x80 },
		"size beyond":           func(_, s, _ []byte) { s[37] = 0x80 },
		"gap":                   func(_, _, s []byte) { s[47]++ },
		"last one is too short": func(_, _, s []byte) { s[39]-- },
		"timestamps swapped":    func(_, s, _ []byte) { copy(s[48:], "\x7f\xff") },
		"tenure after base":     func(_, s, _ []byte) { s[68] = 1 },
		"negative tenure":       func(_, s, _ []byte) { s[64] = 0x80 },
		"reserved":              func(_, s, _ []byte) { s[79] = 1 },
		"out of order":          func(_, s, _ []byte) { s[0] = 0x30 },
		"same partition twice":  func(_, s, u []byte) { copy(u[:20], s[:20]) },
	} {
		body := golden(t).whole()
		f := footer(body)
		lie(f, f[footerHeaderSize:], f[footerHeaderSize+segmentEntrySize:])
		if _, err := Parse(reseal(body)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBuilderRefusesBadInput(t *testing.T) {
	t.Parallel()
	good := goldenSegments[0]
	for name, spoil := range map[string]func(*Segment){
		"partition":  func(s *Segment) { s.Partition = -1 },
		"epoch":      func(s *Segment) { s.Epoch = 0 },
		"offset":     func(s *Segment) { s.BaseOffset = -1 },
		"overflow":   func(s *Segment) { s.BaseOffset = math.MaxInt64 },
		"records":    func(s *Segment) { s.RecordCount = 0 },
		"timestamps": func(s *Segment) { s.MinTimestampMs = s.MaxTimestampMs + 1 },
		"tenure":     func(s *Segment) { s.TenureFirstOffset = s.BaseOffset + 1 },
	} {
		b, err := NewBuilder(goldenKey)
		if err != nil {
			t.Fatal(err)
		}
		bad := good
		spoil(&bad)
		if _, err := b.Append(bad, PartOf([]byte("x"))); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := b.Append(good); !errors.Is(err, ErrInvalid) {
			t.Errorf("no bytes: %v", err)
		}
		if _, err := b.Seal(); !errors.Is(err, ErrInvalid) {
			t.Errorf("sealed without a segment: %v", err)
		}
		if _, err := b.Append(good, PartOf([]byte("x"))); err != nil {
			t.Errorf("after refusals: %v", err)
		}
	}
}

// A partition may come twice (compaction keeps epochs apart), but forward and without overlap.
func TestBuilderKeepsOrder(t *testing.T) {
	t.Parallel()
	base := goldenSegments[0] // offsets 1000 to 1019
	for name, test := range map[string]struct {
		change func(*Segment)
		ok     bool
	}{
		"same again":        {func(*Segment) {}, false},
		"overlap":           {func(s *Segment) { s.BaseOffset += 19 }, false},
		"next offsets":      {func(s *Segment) { s.BaseOffset += 20 }, true},
		"later epoch":       {func(s *Segment) { s.BaseOffset += 20; s.Epoch++; s.TenureFirstOffset = s.BaseOffset }, true},
		"next partition":    {func(s *Segment) { s.Partition++; s.BaseOffset = 900 }, true},
		"earlier partition": {func(s *Segment) { s.Partition-- }, false},
		"next topic":        {func(s *Segment) { s.TopicID[15]++; s.Partition = 0 }, true},
		"earlier topic":     {func(s *Segment) { s.TopicID[0]--; s.Partition = 9 }, false},
	} {
		b, err := NewBuilder(goldenKey)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Append(base, PartOf([]byte("x"))); err != nil {
			t.Fatal(err)
		}
		next := base
		test.change(&next)
		if _, err := b.Append(next, PartOf([]byte("y"))); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	whole := golden(f).whole()
	f.Add(whole, false)
	f.Add(whole, true)
	f.Add(whole[len(whole)-100:], true)
	f.Add([]byte(headMagic+"\x00\x01"+trailerMagic), false)
	f.Fuzz(func(t *testing.T, body []byte, mend bool) {
		if mend && len(body) >= trailerSize { // get past the checksum
			body = reseal(bytes.Clone(body))
		}
		footer, err := Parse(body)
		if err != nil {
			return
		}
		_ = footer.Verify(body)
		again := bytes.Clone(body[:footer.Segments[len(footer.Segments)-1].endPosition()])
		if again = footer.appendTo(again); !bytes.Equal(again, body[:len(body)-trailerSize]) {
			t.Fatalf("%+v is written in another way than it was read", footer)
		}
		key := footer.Key.String()
		if read, err := ReadFooter(t.Context(), bucket{key: body}, key); err != nil || !reflect.DeepEqual(read, footer) {
			t.Fatalf("tail: %+v, %v; whole: %+v", read, err, footer)
		}
	})
}
