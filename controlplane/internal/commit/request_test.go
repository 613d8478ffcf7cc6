package commit

import (
	"testing"

	"github.com/google/uuid"
)

func TestParseKey(t *testing.T) {
	t.Parallel()
	writer := uuid.New()
	for key, want := range map[string]bool{
		"blue/0a/3-" + writer.String() + "-12": true, "green/0a/3-" + writer.String() + "-12": false, "blue/0a/3": false, "blue/": false, "": false,
		"blue/0a/3-short-1": false, "blue/0a/3-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx-1": false, "blue/0a/256-" + writer.String() + "-12": false,
		"blue/topics/" + writer.String(): false, "blue/0a/3-" + writer.String() + "-99999999999999999999": false,
	} {
		parts, ok := ParseKey("blue", key)
		if ok != want || (ok && (parts != KeyParts{Key: key, Writer: writer, Counter: 12})) {
			t.Errorf("%q: %+v, %v", key, parts, ok)
		}
	}
}

func TestSettled(t *testing.T) {
	t.Parallel()
	key := "blue/0a/3-" + uuid.NewString() + "-12"
	for below, want := range map[int64]bool{-1: false, 0: false, 12: false, 13: true} {
		if Settled("blue", key, below) != want {
			t.Errorf("settled below %d: %v", below, !want)
		}
	}
}
