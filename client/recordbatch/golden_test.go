package recordbatch_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// The golden files were written by another implementation (checksums, varints and LZ4 blocks
// included), field by field: section, field, bytes in hex. They never change: stored data does not.

type goldenField struct {
	section, name string
	bytes         []byte
}

func readGolden(t *testing.T, name string) (fields []goldenField, whole []byte) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		w := strings.Fields(line)
		if len(w) == 0 || w[0] == "#" {
			continue
		}
		b, err := hex.DecodeString(strings.Join(w[2:], ""))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		fields = append(fields, goldenField{w[0], w[1], b})
		whole = append(whole, b...)
	}
	return fields, whole
}

// docRow is a row of a format table in doc.go. Offset is -1 where the table has none.
type docRow struct {
	name, width string
	offset      int
}

func docTables(t *testing.T) map[string][]docRow {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string][]docRow{}
	section := ""
	for line := range strings.Lines(string(text)) {
		w := strings.Fields(line)
		switch {
		case len(w) > 1 && w[1] == "#":
			section = map[string]string{"Batch,": "batch", "Record": "record", "LZ4": "frame"}[w[2]]
		case !strings.HasPrefix(line, "//\t") || w[1] == "field":
		case section == "batch":
			offset, err := strconv.Atoi(w[2])
			if err != nil {
				t.Fatal(err)
			}
			tables[section] = append(tables[section], docRow{w[1], w[3], offset})
		default:
			tables[section] = append(tables[section], docRow{w[1], w[2], -1})
		}
	}
	return tables
}

// Each field of the golden files is a row of doc.go with its offset and width, and each row of doc.go
// is in a golden file, in order.
func TestDocTablesMatchGoldenFiles(t *testing.T) {
	t.Parallel()
	tables := docTables(t)
	seen := map[docRow]bool{}
	for _, name := range []string{"plain.golden", "lz4.golden"} {
		fields, _ := readGolden(t, name)
		at, row := 0, map[string]int{}
		for _, f := range fields {
			r := findRow(t, tables[f.section], row[f.section], f)
			row[f.section] = r + 1
			d := tables[f.section][r]
			seen[d] = true
			if d.offset >= 0 && d.offset != at {
				t.Errorf("%s: %s is at %d, doc.go says %d", name, f.name, at, d.offset)
			}
			checkWidth(t, name, d, f)
			at += len(f.bytes)
		}
	}
	for section, rows := range tables {
		for _, d := range rows {
			// The records are the sections record and frame themselves.
			if !seen[d] && d.name != "records" {
				t.Errorf("%s: %s stands in no golden file", section, d.name)
			}
		}
	}
	if len(tables["batch"]) != 14 || len(tables["record"]) != 13 || len(tables["frame"]) != 8 {
		t.Errorf("doc.go has lost rows: %d, %d, %d", len(tables["batch"]), len(tables["record"]), len(tables["frame"]))
	}
}

// findRow returns the row of f: the next one, but for fields of no bytes that are left out where the
// length is -1, or the first of what repeats: a record, a header, a block.
func findRow(t *testing.T, rows []docRow, next int, f goldenField) int {
	t.Helper()
	for i := next; i < len(rows); i++ {
		if rows[i].name == f.name {
			return i
		}
		if rows[i].width != "-" {
			break
		}
	}
	repeats := f.name == "length" || f.name == "header_key_length" || f.name == "block_size"
	for i, d := range rows[:next] {
		if repeats && d.name == f.name {
			return i
		}
	}
	t.Fatalf("%s %s: doc.go has another field here", f.section, f.name)
	return -1
}

func checkWidth(t *testing.T, file string, d docRow, f goldenField) {
	t.Helper()
	switch d.width {
	case "-":
	case "varint":
		for i, c := range f.bytes {
			if last := i == len(f.bytes)-1; (c < 0x80) != last {
				t.Errorf("%s: %s % x is not one varint", file, f.name, f.bytes)
			}
		}
		if len(f.bytes) == 0 {
			t.Errorf("%s: %s is empty", file, f.name)
		}
	default:
		if strconv.Itoa(len(f.bytes)) != d.width {
			t.Errorf("%s: %s has %d bytes, doc.go says %s", file, f.name, len(f.bytes), d.width)
		}
	}
}

var goldenCases = []struct {
	file   string
	codec  recordbatch.Codec
	header recordbatch.Header // without lengths and checksum
	want   []recordbatch.Record
}{
	{"plain.golden", recordbatch.None, recordbatch.Header{
		BaseOffset: 0x0102030405060708, LeaderEpoch: 0x11121314,
		BaseTimestamp: 1700000000000, MaxTimestamp: 1700000000300, LastOffsetDelta: 2, RecordCount: 3,
		Producer: recordbatch.Producer{ID: 0x2122232425262728, Epoch: 0x3132, BaseSequence: 0x7ffffffe},
	}, []recordbatch.Record{
		{Timestamp: 1700000000000, Key: nil, Value: []byte("first")},
		{Timestamp: 1699999999995, Key: []byte("k"), Value: []byte{}, Headers: []recordbatch.RecordHeader{
			{Key: "h", Value: nil}, {Key: "é", Value: []byte("x")}, {Key: "", Value: []byte{}},
		}},
		{Timestamp: 1700000000300, Key: []byte{}, Value: nil},
	}},
	{"lz4.golden", recordbatch.LZ4, recordbatch.Header{
		BaseOffset: 42, LeaderEpoch: 1, Attributes: 3,
		BaseTimestamp: 1700000000000, MaxTimestamp: 1700000000000, RecordCount: 1,
		Producer: recordbatch.NoProducer(),
	}, []recordbatch.Record{{Timestamp: 1700000000000, Key: nil, Value: bytes.Repeat([]byte("ab"), 35000)}}},
}

func TestGoldenFilesAreRead(t *testing.T) {
	t.Parallel()
	for _, c := range goldenCases {
		_, whole := readGolden(t, c.file)
		info, err := recordbatch.Verify(whole, recordbatch.Limits{}, new(recordbatch.Scratch))
		if err != nil {
			t.Fatalf("%s: %v", c.file, err)
		}
		got := info.Header
		got.BatchLength, got.CRC = 0, 0
		if got != c.header {
			t.Errorf("%s: got %+v, want %+v", c.file, got, c.header)
		}
		for i := range c.want {
			c.want[i].Offset = c.header.BaseOffset + int64(i)
		}
		if records := decode(t, whole); !reflect.DeepEqual(records, c.want) {
			t.Errorf("%s: other records", c.file)
		}
	}
}

func TestGoldenFilesAreWritten(t *testing.T) {
	t.Parallel()
	for _, c := range goldenCases {
		_, whole := readGolden(t, c.file)
		batch := build(t, c.codec, c.header.Producer, c.want...)
		if err := recordbatch.Stamp(batch, c.header.BaseOffset, c.header.LeaderEpoch); err != nil {
			t.Fatal(err)
		}
		if c.codec == recordbatch.None && !bytes.Equal(batch, whole) {
			t.Errorf("%s: got % x, want % x", c.file, batch[:61], whole[:61])
		}
		// Many blocks stand for the same bytes: only what the block does not decide must be the same.
		const lengthAt, epochAt, magicAt, attributesAt, frameHeadBytes = 8, 12, 16, 21, 15
		for _, field := range [][2]int{{0, lengthAt}, {epochAt, magicAt + 1}, {attributesAt, recordbatch.HeaderBytes + frameHeadBytes}} {
			if got, want := batch[field[0]:field[1]], whole[field[0]:field[1]]; c.codec == recordbatch.LZ4 && !bytes.Equal(got, want) {
				t.Errorf("%s: bytes %d to %d: got % x, want % x", c.file, field[0], field[1], got, want)
			}
		}
	}
}
