package objectstore_test

import (
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/serve/secret"
)

// directory answers lists as a directory bucket does: in no order, by continuation tokens alone, for prefixes that end in a slash alone.
type directory struct {
	keys  []string
	asked int
}

func (d *directory) RoundTrip(req *http.Request) (*http.Response, error) {
	q := req.URL.Query()
	if strings.Contains(req.URL.RawQuery, "session") {
		return answer(req, http.StatusOK, `<CreateSessionResult><Credentials><SessionToken>t</SessionToken><SecretAccessKey>s</SecretAccessKey>`+
			`<AccessKeyId>a</AccessKeyId><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></CreateSessionResult>`), nil
	}
	d.asked++
	prefix := q.Get("prefix")
	if q.Get("start-after") != "" || (prefix != "" && !strings.HasSuffix(prefix, "/")) {
		return answer(req, http.StatusBadRequest, `<Error><Code>InvalidRequest</Code></Error>`), nil
	}
	from, _ := strconv.Atoi(q.Get("continuation-token"))
	type content struct{ Key string }
	var out struct {
		XMLName               xml.Name  `xml:"ListBucketResult"`
		Contents              []content `xml:"Contents"`
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
	}
	at := from
	for ; at < len(d.keys) && len(out.Contents) < 7; at++ {
		if strings.HasPrefix(d.keys[at], prefix) {
			out.Contents = append(out.Contents, content{d.keys[at]})
		}
	}
	if out.IsTruncated = at < len(d.keys); out.IsTruncated {
		out.NextContinuationToken = strconv.Itoa(at)
	}
	body, err := xml.Marshal(out)
	if err != nil {
		return nil, err
	}
	return answer(req, http.StatusOK, string(body)), nil
}

func TestListsOfDirectoryBucketsAreInOrder(t *testing.T) {
	t.Parallel()
	d := &directory{}
	var want []string
	for i := range 60 {
		d.keys = append(d.keys, fmt.Sprintf("g/%02d/key", i), fmt.Sprintf("h/%02d", i))
		want = append(want, fmt.Sprintf("g/%02d/key", i))
	}
	rand.Shuffle(len(d.keys), func(i, j int) { d.keys[i], d.keys[j] = d.keys[j], d.keys[i] })
	store, err := objectstore.NewS3(t.Context(), objectstore.Config{
		Bucket: "logs--euw1-az1--x-s3", Endpoint: "http://s3.example.com", PathStyle: true, Region: "eu-west-1", AccessKey: "k", SecretKey: secret.New("s"), Transport: d,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"g/", "g", "g/1"} {
		expected := slices.DeleteFunc(slices.Clone(want), func(k string) bool { return !strings.HasPrefix(k, prefix) })
		var got []string
		for after, more := "", true; more; {
			page, err := store.List(t.Context(), prefix, after, 9)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range page.Objects {
				got = append(got, o.Key)
			}
			if more = page.More; more {
				after = got[len(got)-1]
			}
		}
		if !slices.Equal(got, expected) {
			t.Errorf("%q: %v", prefix, got)
		}
	}
}
