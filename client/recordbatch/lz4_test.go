package recordbatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pierrec/lz4/v4"
)

// Vectors of the xxHash specification's reference implementation, seed 0.
func TestXXH32(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]uint32{
		"":    0x02CC5D05,
		"a":   0x550D7456,
		"abc": 0x32D153FF,
		"Nobody inspects the spammish repetition": 0xE2293B2F,
	} {
		if got := xxh32([]byte(in)); got != want {
			t.Errorf("xxh32(%q) = %08x, want %08x", in, got, want)
		}
	}
}

// foreign compresses as other producers do: with the library's own frame writer.
func foreign(t *testing.T, src []byte, options ...lz4.Option) []byte {
	t.Helper()
	var out bytes.Buffer
	w := lz4.NewWriter(&out)
	if err := w.Apply(options...); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(src); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func sample(n int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "line %d of some text, %x\n", i, i*i)
	}
	return b[:n]
}

const roomy = 64 << 20

func TestFramesOfOtherProducers(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 1000, blockBytes, blockBytes + 1, 600_000} {
		src := sample(size)
		for _, bs := range []lz4.BlockSize{lz4.Block64Kb, lz4.Block256Kb, lz4.Block1Mb, lz4.Block4Mb} {
			for flags := range 8 {
				options := []lz4.Option{lz4.BlockSizeOption(bs), lz4.ChecksumOption(flags&1 != 0), lz4.BlockChecksumOption(flags&2 != 0)}
				if flags&4 != 0 {
					options = append(options, lz4.SizeOption(uint64(size)))
				}
				got, e := decompress(foreign(t, src, options...), roomy, new(Scratch))
				if e != nil || !bytes.Equal(got, src) {
					t.Errorf("%d bytes, blocks %s, flags %b: %v", size, bs, flags, e)
				}
			}
		}
	}
}

// What we write the library reads, at every size around the edges of a block.
func TestTheLibraryReadsOurFrames(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 4, 12, 16, 17, 18, 32, 100, blockBytes - 1, blockBytes, blockBytes + 1, 1 << 20} {
		for name, src := range map[string][]byte{"text": sample(size), "zeros": make([]byte, size), "noise": noise(size)} {
			own := appendFrame(make([]byte, 0, frameBound(size)), src)
			got, err := io.ReadAll(lz4.NewReader(bytes.NewReader(own)))
			if err != nil || !bytes.Equal(got, src) {
				t.Errorf("%d bytes of %s: %v", size, name, err)
			}
			if most := frameHeadBytes + size + blockSizeBytes*(size/blockBytes+1) + endMarkBytes; len(own) > most {
				t.Errorf("%d bytes of %s: frame of %d, at most %d", size, name, len(own), most)
			}
		}
	}
}

// FuzzBlock: whatever the bytes, the library's decoder gives them back, and nothing beyond the bound is written.
func FuzzBlock(f *testing.F) {
	f.Add([]byte("a"), uint16(0))
	f.Add(sample(300), uint16(3))
	f.Add(noise(100), uint16(40))
	f.Add(bytes.Repeat([]byte("abcabcabd"), 90), uint16(200))
	f.Fuzz(func(t *testing.T, seed []byte, repeat uint16) {
		src := seed
		for n := int(repeat); n > 0 && len(src) < blockBytes && len(seed) > 0; n-- {
			src = append(src, seed[n%len(seed):]...)
		}
		src = bytes.Clone(src[:min(len(src), blockBytes)])
		if len(src) == 0 {
			return
		}
		checkBlock(t, src)
	})
}

func checkBlock(t *testing.T, src []byte) {
	t.Helper()
	bound := blockBound(len(src))
	guarded := bytes.Repeat([]byte{0xEE}, bound+64)
	dst := guarded[:bound:bound]
	e := newBlockEncoder()
	n := e.encode(dst, src)
	e.close()
	if beyond := guarded[bound:]; !bytes.Equal(beyond, bytes.Repeat([]byte{0xEE}, len(beyond))) {
		t.Fatalf("%d bytes: written beyond the bound of %d", len(src), bound)
	}
	if n >= len(src) {
		return // stored as it is
	}
	got := make([]byte, len(src))
	m, err := lz4.UncompressBlock(dst[:n], got)
	if err != nil || m != len(src) || !bytes.Equal(got, src) {
		t.Fatalf("%d bytes became %d, came back as %d: %v", len(src), n, m, err)
	}
}

// Records repeat themselves at every distance and length: many shapes, and every length of a tail.
func TestBlocksOfManyShapes(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		src := make([]byte, 0, 1+r.IntN(2000))
		for len(src) < cap(src) {
			n := min(1+r.IntN(40), cap(src)-len(src))
			if back := r.IntN(len(src) + 1); back > 0 && r.IntN(3) > 0 {
				for range n {
					src = append(src, src[len(src)-back])
				}
				continue
			}
			src = append(src, noise(40)[:n]...)
		}
		checkBlock(t, src)
	}
	for n := 1; n < 600; n++ {
		checkBlock(t, sample(n))
	}
}

func TestFramesThatLie(t *testing.T) {
	t.Parallel()
	src := sample(1000)
	own := appendFrame(make([]byte, 0, frameBound(len(src))), src)
	checked := foreign(t, src, lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(true), lz4.BlockChecksumOption(true))
	rehash := func(b []byte) []byte { b[14] = byte(xxh32(b[4:14]) >> 8); return b }
	for name, c := range map[string]struct {
		frame []byte
		want  Reason
	}{
		"empty":               {nil, Corrupt},
		"magic":               {edit(own, 0, 5), Corrupt},
		"head checksum":       {edit(own, 14, own[14]^1), Corrupt},
		"version":             {rehash(edit(own, 4, 0xA8)), Unsupported},
		"linked blocks":       {rehash(edit(own, 4, 0x48)), Unsupported},
		"dictionary":          {rehash(edit(own, 4, 0x69)), Unsupported},
		"reserved flag":       {rehash(edit(own, 4, 0x6A)), Unsupported},
		"block size 3":        {rehash(edit(own, 5, 0x30)), Corrupt},
		"block size 8":        {rehash(edit(own, 5, 0x80)), Corrupt},
		"descriptor bit":      {rehash(edit(own, 5, 0x41)), Corrupt},
		"size 1 more":         {rehash(edit(own, 6, own[6]+1)), Corrupt},
		"size 1 less":         {rehash(edit(own, 6, own[6]-1)), Corrupt},
		"size negative":       {rehash(edit(own, 13, 0x80)), Corrupt},
		"size beyond limit":   {rehash(edit(own, 12, 1)), TooLarge},
		"size beyond blocks":  {rehash(edit(own, 8, 1)), Corrupt},
		"no end mark":         {own[:len(own)-4], Corrupt},
		"half an end mark":    {own[:len(own)-2], Corrupt},
		"bytes after the end": {append(bytes.Clone(own), 0), Corrupt},
		"two frames":          {append(bytes.Clone(own), own...), Corrupt},
		"block longer":        {edit(own, 15, own[15]+1), Corrupt},
		"block shorter":       {edit(own, 15, own[15]-1), Corrupt},
		"block size huge":     {edit(own, 17, 0xff), Corrupt},
		"empty stored block":  {append(bytes.Clone(own[:15]), 0, 0, 0, 0x80, 0, 0, 0, 0), Corrupt},
		"block checksum":      {edit(checked, len(checked)-9, checked[len(checked)-9]^1), Corrupt},
		"content checksum":    {edit(checked, len(checked)-1, checked[len(checked)-1]^1), Corrupt},
		"checksum cut off":    {checked[:len(checked)-4], Corrupt},
		"stored end mark":     {edit(own, len(own)-1, 0x80), Corrupt},
		"incompressible":      {blocks(literals(blockBytes, 0)), Corrupt},
		"block beyond 64 KiB": {blocks(zeros(t, 100<<10), literals(300, 1)), Corrupt},
	} {
		_, e := decompress(c.frame, 1<<20, new(Scratch))
		if e == nil || e.Reason != c.want {
			t.Errorf("%s: %v, want reason %q", name, e, c.want)
		}
	}
	if _, e := decompress(checked, 1<<20, new(Scratch)); e != nil {
		t.Error(e)
	}
}

// blocks returns a frame of 64 KiB blocks without content size around any compressed blocks.
func blocks(data ...[]byte) []byte {
	frame := []byte{0x04, 0x22, 0x4d, 0x18, 0x60, 0x40}
	frame = append(frame, byte(xxh32(frame[4:6])>>8))
	for _, d := range data {
		frame = binary.LittleEndian.AppendUint32(frame, uint32(len(d)))
		frame = append(frame, d...)
	}
	return append(frame, 0, 0, 0, 0)
}

// literals is a compressed block that is longer than its n bytes.
func literals(n int, v byte) []byte {
	d := []byte{0xf0}
	rest := n - 15
	for ; rest >= 255; rest -= 255 {
		d = append(d, 255)
	}
	d = append(d, byte(rest))
	return append(d, bytes.Repeat([]byte{v}, n)...)
}

func zeros(t *testing.T, n int) []byte {
	t.Helper()
	d := make([]byte, lz4.CompressBlockBound(n))
	var c lz4.Compressor
	m, err := c.CompressBlock(make([]byte, n), d)
	if err != nil {
		t.Fatal(err)
	}
	return d[:m]
}

func TestBlocksOfTheTestsAreSound(t *testing.T) {
	t.Parallel()
	got, e := decompress(blocks(literals(300, 1), zeros(t, blockBytes)), 1<<20, new(Scratch))
	if want := append(bytes.Repeat([]byte{1}, 300), make([]byte, blockBytes)...); e != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), e)
	}
}

// Blocks that hold nothing cost nothing to make: the batch as a whole is bounded too.
func TestEmptyBlocksDoNotMakeABatchEndless(t *testing.T) {
	t.Parallel()
	empty := slices.Repeat([][]byte{{0}}, 20_000)
	limits := Limits{MaxRecordBytes: 100, MaxUncompressedBytes: 1000}
	_, err := Verify(batchAround(blocks(append(empty, literals(20, 0))...)), limits, new(Scratch))
	var e *Error
	if !errors.As(err, &e) || e.Reason != TooLarge {
		t.Errorf("got %v", err)
	}
}

func edit(b []byte, at int, v byte) []byte {
	b = bytes.Clone(b)
	b[at] = v
	return b
}

// bomb returns a frame without content size that decompresses to n zero bytes.
func bomb(t *testing.T, n int, options ...lz4.Option) []byte {
	t.Helper()
	return foreign(t, make([]byte, n), append(options, lz4.ChecksumOption(false))...)
}

// claim sets a frame's content size.
func claim(frame []byte, size uint64) []byte {
	binary.LittleEndian.PutUint64(frame[6:], size)
	frame[14] = byte(xxh32(frame[4:14]) >> 8)
	return frame
}

func TestBombsAllocateNoMoreThanTheBound(t *testing.T) {
	const limit = 1 << 20
	const size = 40 << 20
	for name, frame := range map[string][]byte{
		"4 MiB blocks":        bomb(t, size, lz4.BlockSizeOption(lz4.Block4Mb)),
		"64 KiB blocks":       bomb(t, size, lz4.BlockSizeOption(lz4.Block64Kb)),
		"claims its size":     bomb(t, size, lz4.BlockSizeOption(lz4.Block4Mb), lz4.SizeOption(size)),
		"claims the limit":    claim(bomb(t, size, lz4.BlockSizeOption(lz4.Block4Mb), lz4.SizeOption(size)), limit),
		"a byte over the top": bomb(t, limit+1, lz4.BlockSizeOption(lz4.Block4Mb)),
	} {
		batch := batchAround(frame)
		var scratch Scratch
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Verify(batch, Limits{MaxRecordBytes: 1000, MaxUncompressedBytes: limit}, &scratch)
		runtime.ReadMemStats(&after)
		var e *Error
		if !errors.As(err, &e) || (e.Reason != TooLarge && name != "claims the limit") {
			t.Errorf("%s: %v", name, err)
		}
		if cap(scratch.buf) > limit {
			t.Errorf("%s: scratch grew to %d, limit %d", name, cap(scratch.buf), limit)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > limit+64<<10 {
			t.Errorf("%s: %d bytes allocated", name, grown)
		}
	}
	if got, e := decompress(bomb(t, limit, lz4.BlockSizeOption(lz4.Block4Mb)), limit, new(Scratch)); e != nil || len(got) != limit {
		t.Errorf("exactly the limit: %v", e)
	}
}

// A few bytes that claim much must not get much memory either.
func TestClaimsAloneAllocateNothing(t *testing.T) {
	t.Parallel()
	frame := claim(appendFrame(make([]byte, 0, 100), []byte("x")), 16<<20)
	var scratch Scratch
	if _, e := decompress(frame, 16<<20, &scratch); e == nil || e.Reason != Corrupt {
		t.Errorf("got %v", e)
	}
	if cap(scratch.buf) != 0 {
		t.Errorf("scratch grew to %d", cap(scratch.buf))
	}
}

func batchAround(frame []byte) []byte {
	h := Header{
		BatchLength: int32(HeaderBytes - lengthOffset + len(frame)), Attributes: int16(LZ4),
		Producer: NoProducer(), RecordCount: 1,
	}
	b := append(make([]byte, HeaderBytes), frame...)
	h.put(b)
	putChecksum(b)
	return b
}

func TestVerifyFrameKeepsLimitsWithoutDecompressing(t *testing.T) {
	t.Parallel()
	src := sample(100_000)
	good := batchAround(appendFrame(make([]byte, 0, frameBound(len(src))), src))
	if _, err := VerifyFrame(good, Limits{}); err != nil {
		t.Error(err)
	}
	_, err := VerifyFrame(good, Limits{MaxUncompressedBytes: 99_999})
	var e *Error
	if !errors.As(err, &e) || e.Reason != TooLarge {
		t.Errorf("got %v", err)
	}
	if _, err := VerifyFrame(good[:len(good)-1], Limits{}); err == nil {
		t.Error("a cut batch was accepted")
	}
	_, err = VerifyFrame(batchAround(foreign(t, src)), Limits{})
	if !errors.As(err, &e) || e.Reason != Unsupported {
		t.Errorf("without a content size: %v", err)
	}
	plain := batchAround([]byte(strings.Repeat("x", 50)))
	if _, err := VerifyFrame(plain, Limits{}); err == nil {
		t.Error("records that are no frame were accepted")
	}
}

func TestScratchPool(t *testing.T) {
	t.Parallel()
	src := sample(300_000)
	frame := appendFrame(make([]byte, 0, frameBound(len(src))), src)
	for range 10 {
		s := AcquireScratch()
		got, e := decompress(frame, 1<<20, s)
		if e != nil || !bytes.Equal(got, src) {
			t.Fatal(e)
		}
		s.Release()
	}
}
