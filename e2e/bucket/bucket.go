// Package bucket compares what lies in the bucket with what the catalog says of it, while a cluster runs: the files of the S3 server's folder with
// rows of the database. It shares no code with what it judges, not even the form of keys.
//
// Promises: P8 is judged here: no referenced object is ever deleted (Missing, Watch), nothing that nobody refers to stays (AwaitClean).
// Read: bucket.go, orphan.go.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/e2e/cluster"
)

// Bucket is that of a cluster.
type Bucket struct {
	cluster *cluster.Cluster
	folder  string
}

// Of is the bucket of a cluster whose S3 server keeps objects as files.
func Of(c *cluster.Cluster) *Bucket {
	return &Bucket{cluster: c, folder: filepath.Join(c.S3.Dir, "objects", c.S3.Bucket)}
}

// Contents are keys, by what they are of.
type Contents struct {
	Objects, Checkpoints, Topics []string
	Bytes                        int64 // of objects
}

// patience is exceeded by what stays for ever alone.
const patience = 90 * time.Second

// checkpointsKept is how many may lie there: three, and one that has just been written.
const checkpointsKept = 4

// List reads the bucket.
func (b *Bucket) List(t testing.TB) (c Contents) {
	t.Helper()
	err := filepath.WalkDir(b.folder, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // it was deleted meanwhile
			return nil
		}
		if err != nil || d.IsDir() {
			if d != nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") { // the server's own
				return fs.SkipDir
			}
			return err
		}
		key, err := filepath.Rel(b.folder, path)
		if err != nil {
			return err
		}
		switch parts := strings.Split(key, "/"); {
		case len(parts) == 3 && parts[1] == "checkpoints":
			c.Checkpoints = append(c.Checkpoints, key)
		case len(parts) == 3 && parts[1] == "topics":
			c.Topics = append(c.Topics, key)
		case len(parts) == 3 && len(parts[1]) == 2:
			c.Objects = append(c.Objects, key)
			if info, err := d.Info(); err == nil {
				c.Bytes += info.Size()
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("list the bucket: %v", err)
	}
	return c
}

// lines runs a query and answers its lines.
func (b *Bucket) lines(ctx context.Context, t testing.TB, query string) []string {
	t.Helper()
	return strings.Fields(b.cluster.Postgres.SQL(ctx, t, query))
}

// Number runs a query that answers one.
func (b *Bucket) Number(ctx context.Context, t testing.TB, query string) int {
	t.Helper()
	text := b.cluster.Postgres.SQL(ctx, t, query)
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %q is no number", query, text)
	}
	return n
}

const referenced = "SELECT key FROM object_keys WHERE reference_count > 0"

// Missing are the objects that the catalog refers to and that are not there: of those that were not, the ones that it still refers to afterwards.
func (b *Bucket) Missing(ctx context.Context, t testing.TB) (missing []string) {
	t.Helper()
	for _, key := range b.lines(ctx, t, referenced) {
		if _, err := os.Stat(filepath.Join(b.folder, key)); err != nil {
			missing = append(missing, key)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	again := b.lines(ctx, t, referenced)
	return slices.DeleteFunc(missing, func(key string) bool { return !slices.Contains(again, key) })
}

// Watch looks for missing objects again and again until stop is closed, and says how often it has looked. It fails the test once.
func (b *Bucket) Watch(ctx context.Context, t testing.TB, stop <-chan struct{}) (looks int) {
	t.Helper()
	for {
		looks++
		if missing := b.Missing(ctx, t); len(missing) > 0 {
			t.Errorf("P8: the catalog refers to %d objects that were deleted, among them %s", len(missing), missing[0])
			return looks
		}
		select {
		case <-stop:
			return looks
		case <-ctx.Done():
			return looks
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// leftovers are queries for what must be nought in the end, by what it is.
var leftovers = map[string]string{
	"objects that nothing refers to": "SELECT count(*) FROM object_keys WHERE reference_count = 0 AND deleted_at IS NULL",
	// What a session that has ended had not settled stays until the session is forgotten, a day later.
	"rows of objects that are gone": `SELECT count(*) FROM object_keys o WHERE deleted_at IS NOT NULL AND NOT EXISTS (
		SELECT FROM sessions s WHERE s.ended_at IS NOT NULL AND o.key LIKE '%-' || s.session_id || '-%')`,
	"objects whose references are miscounted": `SELECT count(*) FROM object_keys o
		WHERE o.reference_count <> (SELECT count(*) FROM segments s WHERE s.object_id = o.object_id)`,
	"segments of partitions that are gone": "SELECT count(*) FROM segments s WHERE NOT EXISTS (SELECT FROM partitions p WHERE p.partition_id = s.partition_id)",
	"segments below a log start": `SELECT count(*) FROM segments s JOIN partitions p USING (partition_id)
		WHERE s.base_offset + s.record_count <= p.log_start_offset`,
	"partitions of deleted topics": "SELECT count(*) FROM partitions p JOIN topics t USING (topic_id) WHERE t.deleted_at IS NOT NULL",
}

// dirt is what should not be there, in words.
func (b *Bucket) dirt(ctx context.Context, t testing.TB) (found []string) {
	t.Helper()
	known := map[string]bool{}
	for _, key := range b.lines(ctx, t, referenced) {
		known[key] = true
	}
	contents := b.List(t)
	orphans := slices.DeleteFunc(contents.Objects, func(key string) bool { return known[key] })
	if len(orphans) > 0 {
		found = append(found, fmt.Sprintf("%d orphans, among them %s", len(orphans), orphans[0]))
	}
	if n := len(contents.Checkpoints); n > checkpointsKept {
		found = append(found, fmt.Sprintf("%d checkpoints", n))
	}
	topics := b.lines(ctx, t, "SELECT topic_id FROM topics WHERE deleted_at IS NULL")
	for _, key := range contents.Topics {
		if !slices.Contains(topics, key[strings.LastIndexByte(key, '/')+1:]) {
			found = append(found, key+", whose topic is deleted")
		}
	}
	for what, query := range leftovers {
		if n := b.Number(ctx, t, query); n > 0 {
			found = append(found, fmt.Sprintf("%d %s", n, what))
		}
	}
	return found
}

// AwaitClean waits until nothing lies in the bucket, or is kept in the catalog, that nothing needs, and answers what is left: what is needed. Nobody may
// write meanwhile.
func (b *Bucket) AwaitClean(ctx context.Context, t testing.TB) Contents {
	t.Helper()
	var found []string
	for until := time.Now().Add(patience); time.Now().Before(until); {
		if found = b.dirt(ctx, t); len(found) == 0 {
			return b.List(t)
		}
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
	t.Fatalf("P8: left in the bucket or the catalog after %v: %s", patience, strings.Join(found, "; "))
	return Contents{}
}
