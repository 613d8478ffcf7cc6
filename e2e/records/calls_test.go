package records_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
)

// manyCalls has many senders, spread over the agents, who send a record a call as JSON and await each answer. All records are there, each once and at the
// offset that its sender was told, and share batches.
func manyCalls(ctx context.Context, t *testing.T, s *suite) {
	const senders, each = 60, 15
	topic := s.create(ctx, t, "many-calls", 1)
	told := make([][each]int64, senders)
	over := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}
	defer over.CloseIdleConnections()
	var sending sync.WaitGroup
	for i := range senders {
		sending.Go(func() {
			for k := range each {
				told[i][k] = s.callJSON(ctx, t, over, s.Agents[i%len(s.Agents)].URL, topic, fmt.Sprintf("%d/%d", i, k))
			}
		})
	}
	sending.Wait()
	all := s.readAll(ctx, t, topic)
	if len(all) != senders*each {
		t.Fatalf("%d records, %d were sent", len(all), senders*each)
	}
	for i := range senders {
		for k, at := range told[i] {
			if at < 0 || at >= int64(len(all)) || string(all[at].Value) != fmt.Sprintf("%d/%d", i, k) {
				t.Fatalf("record %d of sender %d is not at offset %d", k, i, at)
			}
			if k > 0 && at <= told[i][k-1] {
				t.Errorf("record %d of sender %d is at %d, the one before at %d", k, i, at, told[i][k-1])
			}
		}
	}
	batches := 0
	for at := 0; at < len(all); {
		got := s.fetch(ctx, t, 0, topic, at, false)
		for _, err := range recordbatch.Split(got.GetBatches()) {
			if err != nil {
				t.Fatal(err)
			}
			batches++
		}
		at = int(got.GetNextOffset())
	}
	t.Logf("%d calls, %d batches", len(all), batches)
	if batches > len(all)*9/10 { // how many depends on how long they wait: here nearly every object is uploaded at once
		t.Errorf("%d calls made %d batches", len(all), batches)
	}
}

// callJSON stores a record through one agent and returns its offset.
func (s *suite) callJSON(ctx context.Context, t *testing.T, over *http.Client, url, topic, value string) int64 {
	t.Helper()
	body, err := json.Marshal(map[string]any{"entries": []any{map[string]any{
		"topicName": topic, "partition": 0, "records": map[string]any{"records": []any{map[string]any{"value": []byte(value)}}},
	}}})
	if err != nil {
		t.Error(err)
		return -1
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+dataplanev1connect.RecordServiceProduceProcedure, bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return -1
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+s.ClientKey)
	answer, err := over.Do(request)
	if err != nil {
		t.Error(err)
		return -1
	}
	defer func() { _ = answer.Body.Close() }()
	var response struct {
		Outcomes []struct {
			Stored *struct {
				BaseOffset int64 `json:"baseOffset,string"` //nolint:tagliatelle // as ProtoJSON has it
			} `json:"stored"`
		} `json:"outcomes"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&response); err != nil || len(response.Outcomes) != 1 || response.Outcomes[0].Stored == nil {
		t.Errorf("produce answered %s: %+v, %v", answer.Status, response, err)
		return -1
	}
	return response.Outcomes[0].Stored.BaseOffset
}
