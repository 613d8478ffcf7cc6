package wire

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"google.golang.org/protobuf/proto"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Answer is what came back from a plain POST.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// Code is the Connect code in words, "" if it was no Connect error.
	Code string
	// Refusal is the typed detail; nil: none.
	Refusal *refusalv1.Refusal
}

// Post sends any bytes to a URL, as curl would. key empty: without one.
func Post(ctx context.Context, t testing.TB, url, key, contentType string, body io.Reader) Answer {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	response, err := httpClient(t, false).Do(request)
	if err != nil {
		t.Fatalf("POST %s: %v", url, err)
	}
	defer func() { _ = response.Body.Close() }()
	answer := Answer{Status: response.StatusCode, Header: response.Header}
	if answer.Body, err = io.ReadAll(io.LimitReader(response.Body, answerBytes)); err != nil {
		t.Fatalf("POST %s: %v", url, err)
	}
	answer.Code, answer.Refusal = ParseError(answer.Body)
	return answer
}

// ParseError reads the body of a Connect error: its code and its typed detail.
func ParseError(body []byte) (code string, refusal *refusalv1.Refusal) {
	var parsed struct {
		Code    string `json:"code"`
		Details []struct {
			Type  string `json:"type"`
			Value string `json:"value"`
		} `json:"details"`
	}
	if json.Unmarshal(body, &parsed) != nil {
		return "", nil
	}
	for _, detail := range parsed.Details {
		value, err := base64.RawStdEncoding.DecodeString(detail.Value)
		found := &refusalv1.Refusal{}
		if err == nil && detail.Type == string(found.ProtoReflect().Descriptor().FullName()) && proto.Unmarshal(value, found) == nil {
			refusal = found
		}
	}
	return parsed.Code, refusal
}
