package recordbatch

import (
	"encoding/binary"

	"github.com/pierrec/lz4/v4"
)

const (
	frameMagic      = 0x184D2204
	blockBytes      = 64 << 10
	storedBit       = 1 << 31 // in a block's size: the block is not compressed
	maxExpansion    = 255     // no LZ4 block byte stands for more output bytes
	frameHeadBytes  = 15      // magic, flags, block descriptor, content size, header checksum
	endMarkBytes    = 4
	blockSizeBytes  = 4
	checksumBytes   = 4
	flagVersion     = 0x40
	flagVersionMask = 0xC0
	flagIndependent = 0x20
	flagBlockSum    = 0x10
	flagContentSize = 0x08
	flagContentSum  = 0x04
	flagReserved    = 0x02
	flagDictionary  = 0x01
	descriptor64KiB = 4 << 4
)

// blockBound is the most bytes that encoding a block of n bytes touches: a token, 1 byte for 255 literals, and two words beyond the end.
func blockBound(n int) int { return n + n/255 + 16 + 16 }

// frameBound is the most bytes that encoding a frame of n bytes touches; the frame itself is shorter where a block does not shrink.
func frameBound(n int) int {
	return frameHeadBytes + n + blockSizeBytes*(n/blockBytes+1) + endMarkBytes + blockBound(blockBytes) - blockBytes
}

// appendFrame appends the LZ4 frame of src to dst. Requires: cap(dst)-len(dst) >= frameBound(len(src)).
func appendFrame(dst, src []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, frameMagic)
	head := len(dst)
	dst = append(dst, flagVersion|flagIndependent|flagContentSize, descriptor64KiB)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(src)))
	dst = append(dst, byte(xxh32(dst[head:])>>8))
	e := newBlockEncoder()
	for len(src) > 0 {
		n := min(len(src), blockBytes)
		dst = appendBlock(dst, src[:n], e)
		src = src[n:]
	}
	e.close()
	return binary.LittleEndian.AppendUint32(dst, 0)
}

// appendBlock appends a block with its size. One that does not shrink is stored as it is.
func appendBlock(dst, src []byte, e blockEncoder) []byte {
	at := len(dst)
	dst = dst[:at+blockSizeBytes]
	n := e.encode(dst[len(dst):len(dst)+blockBound(len(src))], src)
	if n >= len(src) {
		binary.LittleEndian.PutUint32(dst[at:], uint32(len(src))|storedBit)
		return append(dst, src...)
	}
	binary.LittleEndian.PutUint32(dst[at:], uint32(n))
	return dst[:len(dst)+n]
}

// frame is a parsed frame head and the blocks, end mark and checksum after it.
type frame struct {
	blockMax   int
	blockSum   bool
	contentSum bool
	size       int64 // claimed content size; -1: none
	blocks     []byte
}

func parseFrame(b []byte) (frame, *Error) {
	const least = 7
	if len(b) < least || binary.LittleEndian.Uint32(b) != frameMagic {
		return frame{}, corrupt("not an LZ4 frame")
	}
	flags, descriptor := b[4], b[5]
	if flags&flagVersionMask != flagVersion || flags&(flagReserved|flagDictionary) != 0 || flags&flagIndependent == 0 {
		return frame{}, fault(Unsupported, "LZ4 frames must be version 1, with independent blocks, without dictionary")
	}
	code := descriptor >> 4
	if descriptor&0x0f != 0 || code < 4 || code > 7 {
		return frame{}, corrupt("unknown LZ4 block size")
	}
	f := frame{
		blockMax: 1 << (8 + 2*code), size: -1,
		blockSum: flags&flagBlockSum != 0, contentSum: flags&flagContentSum != 0,
	}
	end := 6
	if flags&flagContentSize != 0 {
		end += 8
		if len(b) <= end {
			return frame{}, corrupt("LZ4 frame ends early")
		}
		if f.size = int64(binary.LittleEndian.Uint64(b[6:])); f.size < 0 {
			return frame{}, corrupt("LZ4 content size out of bounds")
		}
	}
	if b[end] != byte(xxh32(b[4:end])>>8) {
		return frame{}, corrupt("LZ4 frame head checksum mismatch")
	}
	f.blocks = b[end+1:]
	return f, nil
}

type block struct {
	data   []byte // empty: the end mark
	stored bool
	sum    []byte
}

// next splits the first block off b.
func (f *frame) next(b []byte) (block, []byte, *Error) {
	if len(b) < blockSizeBytes {
		return block{}, nil, corrupt("LZ4 frame ends early")
	}
	size := binary.LittleEndian.Uint32(b)
	b = b[blockSizeBytes:]
	if size == 0 {
		return block{}, b, nil
	}
	n := int(size &^ storedBit)
	sum := 0
	if f.blockSum {
		sum = checksumBytes
	}
	if n == 0 || n > f.blockMax || n+sum > len(b) {
		return block{}, nil, corrupt("LZ4 block size out of bounds")
	}
	return block{data: b[:n], stored: size&storedBit != 0, sum: b[n : n+sum]}, b[n+sum:], nil
}

// openFrame parses a frame, walks its blocks to the very end of b, and returns the most bytes that
// it can decompress to, at most limit. Nothing is decompressed, and claims alone allow nothing.
func openFrame(b []byte, limit int) (frame, int, *Error) {
	f, e := parseFrame(b)
	if e != nil {
		return f, 0, e
	}
	if f.size > int64(limit) {
		return f, 0, tooLarge(TooLarge, "uncompressed bytes", int(f.size), limit)
	}
	bound, rest := int64(0), f.blocks
	for {
		var k block
		if k, rest, e = f.next(rest); e != nil {
			return f, 0, e
		}
		if len(k.data) == 0 {
			break
		}
		bound += k.bound(f.blockMax)
	}
	if tail := len(rest); tail != 0 && !(f.contentSum && tail == checksumBytes) || tail == 0 && f.contentSum {
		return f, 0, corrupt("bytes after the LZ4 frame, or its checksum missing")
	}
	if f.size > bound {
		return f, 0, corrupt("LZ4 content size beyond what the blocks can hold")
	}
	if f.size >= 0 {
		bound = f.size
	}
	return f, int(min(bound, int64(limit))), nil
}

func (k *block) bound(blockMax int) int64 {
	if k.stored {
		return int64(len(k.data))
	}
	return min(int64(blockMax), maxExpansion*int64(len(k.data)))
}

// decompress decodes one frame into scratch, or into fresh memory without one. However the frame lies, that is limit bytes at most.
func decompress(b []byte, limit int, scratch *Scratch) ([]byte, *Error) {
	f, bound, e := openFrame(b, limit)
	if e != nil {
		return nil, e
	}
	dst, n, rest := scratch.take(bound, limit), 0, f.blocks
	for {
		var k block
		if k, rest, e = f.next(rest); e != nil {
			return nil, e
		}
		if len(k.data) == 0 {
			break
		}
		m, e := f.decodeBlock(dst[n:], k)
		if e != nil {
			return nil, f.whyShort(e, len(dst), limit)
		}
		n += m
	}
	if f.size >= 0 && int64(n) != f.size {
		return nil, corrupt("LZ4 content size differs from the content")
	}
	if f.contentSum && binary.LittleEndian.Uint32(rest) != xxh32(dst[:n]) {
		return nil, corrupt("LZ4 content checksum mismatch")
	}
	return dst[:n:n], nil
}

func (f *frame) decodeBlock(dst []byte, k block) (int, *Error) {
	if f.blockSum && binary.LittleEndian.Uint32(k.sum) != xxh32(k.data) {
		return 0, corrupt("LZ4 block checksum mismatch")
	}
	dst = dst[:min(len(dst), f.blockMax)]
	if k.stored {
		if len(k.data) > len(dst) {
			return 0, corrupt(badBlock)
		}
		return copy(dst, k.data), nil
	}
	n, err := lz4.UncompressBlock(k.data, dst)
	if err != nil {
		return 0, corrupt(badBlock)
	}
	return n, nil
}

const badBlock = "LZ4 block is corrupt or larger than claimed"

// whyShort turns a failed block into TooLarge where the limit, not the frame's own claim, bounded the
// output: a decoder cannot tell a short buffer from a corrupt block.
func (f *frame) whyShort(e *Error, room, limit int) *Error {
	if e.Detail == badBlock && f.size < 0 && room == limit {
		return tooLarge(TooLarge, "uncompressed bytes, at least", limit+1, limit)
	}
	return e
}
