package access_test

import (
	"strings"
	"testing"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	"github.com/streamhouse/streamhouse/serve/access"
)

func TestKeysAreWellFormedAndDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		key := access.NewKey().Reveal()
		if !access.WellFormed(key) || len(key) != len("shk_")+43 {
			t.Fatalf("%q is no key", key)
		}
		if seen[key] {
			t.Fatal("the same key twice")
		}
		seen[key] = true
	}
}

func TestMalformedKeys(t *testing.T) {
	t.Parallel()
	good := access.NewKey().Reveal()
	for _, bad := range []string{
		"", "shk_", good[:len(good)-1], good + "A", "sk_" + good[4:], strings.Replace(good, "shk_", "SHK_", 1),
		good[:10] + "+" + good[11:], good[:10] + " " + good[11:], good[:10] + "\x00" + good[11:],
	} {
		if access.WellFormed(bad) {
			t.Errorf("%q must be no key", bad)
		}
	}
}

func TestP7_APrincipalIsBoundToItsAgentGroup(t *testing.T) {
	t.Parallel()
	agent := access.Principal{Role: accessv1.Role_ROLE_AGENT, AgentGroup: "a"}
	admin := access.Principal{Role: accessv1.Role_ROLE_ADMIN}
	unbound := access.Principal{Role: accessv1.Role_ROLE_CLIENT}
	for _, c := range []struct {
		principal access.Principal
		group     string
		want      bool
	}{
		{agent, "a", true},
		{agent, "b", false},
		{agent, "", false},
		{admin, "a", true},
		{admin, "", true},
		{unbound, "", false},
		{unbound, "a", false},
		{access.Principal{}, "", false},
	} {
		if got := c.principal.MayUse(c.group); got != c.want {
			t.Errorf("%+v, group %q: got %v", c.principal, c.group, got)
		}
	}
}
