package compaction

import (
	"github.com/streamhouse/streamhouse/serve/checksum"
)

// Segment is a row of the catalog, or what is to take the place of several.
type Segment struct {
	ObjectID    int64
	BaseOffset  int64
	RecordCount int32
	SizeBytes   int32
	CRC32C      uint32
	Epoch       int32
	// MaxTimestampMs is the greatest record timestamp.
	MaxTimestampMs int64
}

func (s Segment) end() int64 { return s.BaseOffset + int64(s.RecordCount) }

// Replaces tells whether a segment may take the place of rows, which are all those that begin within its offsets, in order: it covers the
// same offsets, of the same epoch, with the same bytes. That they are the same is known without a look at them: the checksum of bytes that
// follow each other comes from that of each. So the rows need not be those that the copy was made of: others with the same bytes do as well.
func Replaces(with Segment, rows []Segment) bool {
	if len(rows) == 0 {
		return false
	}
	next, size, sum, newest := with.BaseOffset, int64(0), uint32(0), rows[0].MaxTimestampMs
	for _, row := range rows {
		if row.BaseOffset != next || row.Epoch != with.Epoch || row.ObjectID == with.ObjectID {
			return false
		}
		next, size = row.end(), size+int64(row.SizeBytes)
		sum = checksum.Combine(sum, row.CRC32C, int64(row.SizeBytes))
		newest = max(newest, row.MaxTimestampMs)
	}
	return next == with.end() && size == int64(with.SizeBytes) && sum == with.CRC32C && newest == with.MaxTimestampMs
}
