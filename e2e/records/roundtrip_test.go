package records_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/e2e/wire"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
)

// line is a record in the command's JSON.
type line struct {
	Topic       string       `json:"topic,omitempty"`
	Partition   int32        `json:"partition"`
	Offset      int64        `json:"offset"`
	Timestamp   string       `json:"timestamp,omitempty"`
	Key         *string      `json:"key,omitempty"`
	KeyBase64   *string      `json:"key_base64,omitempty"`
	Value       *string      `json:"value,omitempty"`
	ValueBase64 *string      `json:"value_base64,omitempty"`
	Headers     []headerLine `json:"headers"`
}

type headerLine struct {
	Key         string  `json:"key"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 *string `json:"value_base64,omitempty"`
}

func lineOf(r *client.Record) line {
	l := line{Headers: []headerLine{}}
	l.Key, l.KeyBase64 = textOrBase64(r.Key)
	l.Value, l.ValueBase64 = textOrBase64(r.Value)
	if !r.Timestamp.IsZero() {
		l.Timestamp = r.Timestamp.UTC().Format(time.RFC3339Nano)
	}
	for _, h := range r.Headers {
		header := headerLine{Key: h.Key}
		header.Value, header.ValueBase64 = textOrBase64(h.Value)
		l.Headers = append(l.Headers, header)
	}
	return l
}

func textOrBase64(b []byte) (text, binary *string) {
	if b == nil {
		return nil, nil
	}
	if utf8.Valid(b) {
		return new(string(b)), nil
	}
	return nil, new(base64.StdEncoding.EncodeToString(b))
}

func (l line) record(t *testing.T) *client.Record {
	t.Helper()
	r := &client.Record{Topic: l.Topic, Partition: l.Partition, Offset: l.Offset, Key: either(t, l.Key, l.KeyBase64), Value: either(t, l.Value, l.ValueBase64)}
	var err error
	if r.Timestamp, err = time.Parse(time.RFC3339Nano, l.Timestamp); err != nil {
		t.Error(err)
	}
	for _, h := range l.Headers {
		r.Headers = append(r.Headers, client.Header{Key: h.Key, Value: either(t, h.Value, h.ValueBase64)})
	}
	return r
}

func either(t *testing.T, text, binary *string) []byte {
	t.Helper()
	if text != nil {
		return []byte(*text)
	}
	if binary == nil {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(*binary)
	if err != nil {
		t.Error(err)
	}
	return append([]byte{}, b...)
}

// parse reads what `consume --format json` printed.
func parse(t *testing.T, out []byte) []*client.Record {
	t.Helper()
	var all []*client.Record
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var l line
		if err := decoder.Decode(&l); err != nil {
			t.Fatalf("consume printed: %v", err)
		}
		all = append(all, l.record(t))
	}
	return all
}

// compare expects the records in their order at offsets from 0 on.
func compare(t *testing.T, wrote, read []*client.Record) {
	t.Helper()
	if len(wrote) != len(read) {
		t.Fatalf("%d records came back as %d", len(wrote), len(read))
	}
	for i, r := range read {
		if r.Offset != int64(i) {
			t.Errorf("record %d has offset %d", i, r.Offset)
		}
		same(t, wrote[i], r)
	}
}

func commandJSON(ctx context.Context, t *testing.T, s *suite) {
	topic := s.create(ctx, t, "command-json", 1)
	var input bytes.Buffer
	for _, r := range specials() {
		if err := json.NewEncoder(&input).Encode(lineOf(r)); err != nil {
			t.Fatal(err)
		}
	}
	s.user.MustWith(ctx, t, input.Bytes(), "produce", topic, "--format", "json")
	out := s.user.Must(ctx, t, "consume", topic, "--from-beginning", "--format", "json")
	compare(t, specials(), parse(t, out))
	compare(t, specials(), s.readAll(ctx, t, topic))
}

// A line ends at \n and nowhere else; what is before the first separator is the key; a line without one has a null key.
func commandLines(ctx context.Context, t *testing.T, s *suite) {
	topic := s.create(ctx, t, "command-lines", 1)
	input := "key\tvalue\nno separator\n\tempty key\nempty value\t\n\nk\tv\twith tabs\r\n\xff\x00\t\xfe\x01\nlast, without an end"
	s.user.MustWith(ctx, t, []byte(input), "produce", topic, "--key-separator", "\t")
	compare(t, []*client.Record{
		{Key: []byte("key"), Value: []byte("value")},
		{Value: []byte("no separator")},
		{Key: []byte{}, Value: []byte("empty key")},
		{Key: []byte("empty value"), Value: []byte{}},
		{Value: []byte{}},
		{Key: []byte("k"), Value: []byte("v\twith tabs\r")},
		{Key: []byte{0xff, 0}, Value: []byte{0xfe, 1}},
		{Value: []byte("last, without an end")},
	}, s.readAll(ctx, t, topic))
	got := string(s.user.Must(ctx, t, "consume", topic, "--from-beginning"))
	if want := "value\nno separator\nempty key\n\n\nv\twith tabs\r\n\xfe\x01\nlast, without an end\n"; got != want {
		t.Errorf("the values came back as %q, not %q", got, want)
	}
}

func commandMebibyte(ctx context.Context, t *testing.T, s *suite) {
	topic := s.create(ctx, t, "command-mebibyte", 1)
	value := bytes.ReplaceAll(noise(1<<20), []byte("\n"), []byte("\r"))
	s.user.MustWith(ctx, t, value, "produce", topic)
	if got := s.user.Must(ctx, t, "consume", topic, "--from-beginning"); !bytes.Equal(got, append(value, '\n')) {
		t.Errorf("%d bytes came back as %d, or as others", len(value), len(got)-1)
	}
	r := s.user.Run(ctx, t, append(value, 'x'), "produce", topic)
	if r.Status != 1 || !strings.Contains(string(r.Stderr), "1048576") {
		t.Errorf("a byte more: %s", r)
	}
	if n := len(s.readAll(ctx, t, topic)); n != 1 {
		t.Errorf("the topic has %d records", n)
	}
}

func commandHeaders(ctx context.Context, t *testing.T, s *suite) {
	topic := s.create(ctx, t, "command-headers", 1)
	s.user.MustWith(ctx, t, []byte("v"), "produce", topic, "--header", "a=1", "--header", "a=2=3", "--header", "empty=")
	compare(t, []*client.Record{{Value: []byte("v"), Headers: []client.Header{
		{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2=3")}, {Key: "empty", Value: []byte{}},
	}}}, s.readAll(ctx, t, topic))
}

// produceAll stores records in one partition by the SDK, in order.
func (s *suite) produceAll(ctx context.Context, t *testing.T, topic string, records []*client.Record, options ...client.ProducerOption) {
	t.Helper()
	producer, err := s.Client(t).NewProducer(options...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = producer.Close(ctx) }()
	for i, r := range records {
		r.Topic, r.UsePartition = topic, true
		producer.Produce(ctx, r, func(_ *client.Record, err error) {
			if err != nil {
				t.Errorf("record %d: %v", i, err)
			}
		})
	}
	if err := producer.Flush(ctx); err != nil {
		t.Error(err)
	}
}

func sdkRoundTrip(ctx context.Context, t *testing.T, s *suite) {
	for name, options := range map[string][]client.ProducerOption{
		"sdk-default": nil, "sdk-plain": {client.WithoutIdempotence(), client.WithoutCompression()}, "sdk-single": {client.WithBatchBytes(1 << 10)},
	} {
		topic := s.create(ctx, t, name, 1)
		s.produceAll(ctx, t, topic, specials(), options...)
		compare(t, specials(), s.readAll(ctx, t, topic))
	}
}

func sdkToCommand(ctx context.Context, t *testing.T, s *suite) {
	topic := s.create(ctx, t, "sdk-to-command", 1)
	s.produceAll(ctx, t, topic, specials())
	compare(t, specials(), parse(t, s.user.Must(ctx, t, "consume", topic, "--from-beginning", "--format", "json")))
	out := s.user.Must(ctx, t, "consume", topic, "--from-beginning", "--max", "4", "--format", "{{.Offset}} {{.KeyIsNull}} {{.ValueIsNull}} {{.Key}}")
	if want := "0 true false \n1 false false \n2 false false empty value\n3 false true null value\n"; string(out) != want {
		t.Errorf("the template printed %q, not %q", out, want)
	}
}

// post sends a JSON body to an agent, by curl where there is one.
func (s *suite) post(ctx context.Context, t *testing.T, procedure, body string) []byte {
	t.Helper()
	url := s.Agents[0].URL + procedure
	curl, err := exec.LookPath("curl")
	if err != nil {
		answer := wire.Post(ctx, t, url, s.ClientKey, "application/json", strings.NewReader(body))
		if answer.Status != http.StatusOK {
			t.Fatalf("POST %s: %d %s", procedure, answer.Status, answer.Body)
		}
		return answer.Body
	}
	cmd := exec.CommandContext(ctx, curl, "-sS", "--fail-with-body", "-H", "Content-Type: application/json", "-H", "Authorization: Bearer "+s.ClientKey, "-d", "@-", url)
	cmd.Stdin = strings.NewReader(body)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("curl %s: %v: %s", procedure, err, out)
	}
	return out
}

func httpToSDK(ctx context.Context, t *testing.T, s *suite) {
	topic := s.create(ctx, t, "http-to-sdk", 1)
	all := []map[string]any{}
	for _, r := range specials()[:12] {
		record := map[string]any{}
		if r.Key != nil {
			record["key"] = r.Key // encoding/json writes bytes as base64, as ProtoJSON does
		}
		if r.Value != nil {
			record["value"] = r.Value
		}
		if !r.Timestamp.IsZero() {
			record["timestampMs"] = fmt.Sprint(r.Timestamp.UnixMilli())
		}
		headers := []map[string]any{}
		for _, h := range r.Headers {
			header := map[string]any{"key": h.Key}
			if h.Value != nil {
				header["value"] = h.Value
			}
			headers = append(headers, header)
		}
		record["headers"] = headers
		all = append(all, record)
	}
	body, err := json.Marshal(map[string]any{"entries": []any{map[string]any{"topicName": topic, "records": map[string]any{"records": all}}}})
	if err != nil {
		t.Fatal(err)
	}
	answer := s.post(ctx, t, dataplanev1connect.RecordServiceProduceProcedure, string(body))
	if !strings.Contains(string(answer), `"stored"`) {
		t.Errorf("produce answered %s", answer)
	}
	compare(t, specials()[:12], s.readAll(ctx, t, topic))
}

// fetchDecodes compares Fetch with decode to the batches that it sends without, from every offset on.
func fetchDecodes(ctx context.Context, t *testing.T, s *suite) {
	topic := s.create(ctx, t, "fetch-decodes", 1)
	wrote := specials()[:12]
	s.produceAll(ctx, t, topic, wrote, client.WithLinger(50*time.Millisecond)) // few batches: most offsets lie inside of one
	for i := range s.Agents {
		for from := range len(wrote) + 1 {
			s.compareFetches(ctx, t, i, topic, from, wrote)
		}
	}
}

func (s *suite) compareFetches(ctx context.Context, t *testing.T, agent int, topic string, from int, wrote []*client.Record) {
	t.Helper()
	decoded, encoded := s.fetch(ctx, t, agent, topic, from, true), s.fetch(ctx, t, agent, topic, from, false)
	if len(decoded.GetBatches()) > 0 || len(encoded.GetRecords()) > 0 {
		t.Error("an answer has both records and batches")
	}
	if decoded.GetHighWatermark() != int64(len(wrote)) || decoded.GetNextOffset() != encoded.GetNextOffset() {
		t.Errorf("from %d: high watermark %d, next offset %d decoded and %d raw", from, decoded.GetHighWatermark(), decoded.GetNextOffset(), encoded.GetNextOffset())
	}
	want := wrote[from:decoded.GetNextOffset()]
	if len(decoded.GetRecords()) != len(want) {
		t.Fatalf("from %d: %d records up to %d", from, len(decoded.GetRecords()), decoded.GetNextOffset())
	}
	for i, r := range decoded.GetRecords() {
		got := &client.Record{Key: r.Key, Value: r.Value, Offset: r.GetOffset(), Timestamp: time.UnixMilli(r.GetTimestampMs())}
		for _, h := range r.GetHeaders() {
			got.Headers = append(got.Headers, client.Header{Key: h.GetKey(), Value: h.Value})
		}
		if got.Offset != int64(from+i) {
			t.Errorf("from %d: record %d has offset %d", from, i, got.Offset)
		}
		same(t, want[i], got)
	}
	if n := countFrom(t, encoded.GetBatches(), int64(from)); n != len(want) {
		t.Errorf("from %d: the batches hold %d records, decoded there are %d", from, n, len(want))
	}
}

func (s *suite) fetch(ctx context.Context, t *testing.T, agent int, topic string, from int, decode bool) *dataplanev1.FetchedPartition {
	t.Helper()
	response, err := s.raw(agent).Fetch(ctx, &dataplanev1.FetchRequest{Decode: decode, Partitions: []*dataplanev1.FetchPartition{{
		Topic: &dataplanev1.FetchPartition_TopicName{TopicName: topic}, Offset: int64(from),
	}}})
	if err != nil {
		t.Fatalf("fetch %s from %d: %v", topic, from, err)
	}
	return response.GetPartitions()[0]
}

// countFrom counts records at or after an offset in batches.
func countFrom(t *testing.T, batches []byte, from int64) int {
	t.Helper()
	n := 0
	for len(batches) > 0 {
		header, err := recordbatch.ParseHeader(batches)
		if err != nil {
			t.Fatal(err)
		}
		n += int(max(0, min(int64(header.RecordCount), header.BaseOffset+int64(header.RecordCount)-from)))
		batches = batches[header.Size():]
	}
	return n
}
