package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/streamhouse/streamhouse/serve/secret"
)

const value = "correct horse battery staple"

// holder keeps a secret where printers look differently: exported, unexported, behind a pointer, in a slice and a map.
type holder struct {
	Open   secret.Secret
	closed secret.Secret
	Behind *secret.Secret
	List   []secret.Secret
	Map    map[string]secret.Secret
}

func TestSecretIsSilent(t *testing.T) {
	t.Parallel()
	s := secret.New(value)
	all := []any{s, &s, holder{s, s, &s, []secret.Secret{s}, map[string]secret.Secret{"a": s}}, []any{s}}
	for _, printed := range all {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v"} {
			mustBeSilent(t, "fmt "+verb, fmt.Sprintf(verb, printed))
		}
		var text, jsonLog bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("m", "s", printed)
		slog.New(slog.NewJSONHandler(&jsonLog, nil)).Info("m", "s", printed)
		mustBeSilent(t, "slog text", text.String())
		mustBeSilent(t, "slog json", jsonLog.String())
		encoded, err := json.Marshal(printed)
		if err != nil {
			t.Fatal(err)
		}
		mustBeSilent(t, "json", string(encoded))
		encoded, err = yaml.Marshal(printed)
		if err != nil {
			t.Fatal(err)
		}
		mustBeSilent(t, "yaml", string(encoded))
	}
	mustBeSilent(t, "error", fmt.Errorf("dial %v: %w", s, fmt.Errorf("no route to %s", s)).Error())
}

func mustBeSilent(t *testing.T, where, text string) {
	t.Helper()
	hex := fmt.Sprintf("%x", value)
	for _, leak := range []string{value, "horse", hex, strings.ToUpper(hex)} {
		if strings.Contains(text, leak) {
			t.Errorf("%s shows the secret: %s", where, text)
		}
	}
}

func TestSecretReveals(t *testing.T) {
	t.Parallel()
	var read secret.Secret
	if err := read.UnmarshalText([]byte(value)); err != nil || read.Reveal() != value {
		t.Fatalf("got %q, %v", read.Reveal(), err)
	}
	if !read.Equal(secret.New(value)) || read.Equal(secret.New("other")) || read.Empty() {
		t.Fatal("comparison is wrong")
	}
	var none secret.Secret
	if !none.Empty() || none.Reveal() != "" || none.String() != "" || !none.Equal(secret.New("")) {
		t.Fatal("the zero secret must be empty")
	}
}
