package fetch

import (
	"testing"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// A lookup's refusal may speak of records; a reader writes none.
func TestReadsAreNotToldOfRecordsWritten(t *testing.T) {
	t.Parallel()
	r := refusal.New(refusalv1.Reason_REASON_UNKNOWN_PARTITION, "gone")
	r.Written = refusalv1.Written_WRITTEN_SURELY_NOT
	if about(target{}, r).GetWritten() != refusalv1.Written_WRITTEN_UNSPECIFIED {
		t.Error(r)
	}
}
