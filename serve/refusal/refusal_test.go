package refusal_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// reasonInProto finds the code in brackets and the reason that follows it.
var reasonInProto = regexp.MustCompile(`// \[(\w+)(?: or \w+)?\][^=]*?\n\s+(REASON_\w+) = \d+;`)

// documentedCodes reads the codes from the contract itself.
func documentedCodes(t *testing.T) map[string]string {
	t.Helper()
	proto, err := os.ReadFile("../../proto/streamhouse/refusal/v1/refusal.proto")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("refusal.proto is not beside this module")
	}
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]string{}
	for _, match := range reasonInProto.FindAllStringSubmatch(string(proto), -1) {
		codes[match[2]] = match[1]
	}
	return codes
}

func TestEveryReasonHasItsDocumentedCode(t *testing.T) {
	t.Parallel()
	documented := documentedCodes(t)
	for number, name := range refusalv1.Reason_name {
		reason := refusalv1.Reason(number)
		if reason == refusalv1.Reason_REASON_UNSPECIFIED {
			continue
		}
		want, ok := documented[name]
		if !ok {
			t.Errorf("%s: refusal.proto names no code", name)
			continue
		}
		got := strings.ReplaceAll(refusal.Code(reason).String(), "_", "")
		if reason == refusalv1.Reason_REASON_UNANSWERED {
			want = "Aborted" // the other one is chosen where the deadline is known
		}
		if !strings.EqualFold(got, want) {
			t.Errorf("%s: code %s, refusal.proto says %s", name, got, want)
		}
	}
}

func TestUnknownReasonIsInternal(t *testing.T) {
	t.Parallel()
	if code := refusal.Code(refusalv1.Reason(9999)); code != connect.CodeInternal {
		t.Fatalf("got %v", code)
	}
}

func TestOnlyAPeersErrorIsItsVerdict(t *testing.T) {
	t.Parallel()
	local := refusal.UnknownTopic("orders")
	if _, ok := refusal.FromError(local); ok {
		t.Fatal("an error made here is no peer's verdict")
	}
	if _, ok := refusal.FromError(errors.New("connection reset")); ok {
		t.Fatal("a lost connection is no peer's verdict")
	}
	got, ok := refusal.FromError(fmt.Errorf("commit: %w", local.WithRemote()))
	if !ok || got.GetReason() != refusalv1.Reason_REASON_UNKNOWN_TOPIC || got.GetTopic() != "orders" {
		t.Fatalf("got %v, %v", got, ok)
	}
	if !refusal.Is(local, refusalv1.Reason_REASON_UNKNOWN_TOPIC) || refusal.Is(local, refusalv1.Reason_REASON_INVALID) {
		t.Fatal("Is looks at errors of this process, too")
	}
}
