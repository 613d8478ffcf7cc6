package object

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestKeyForm(t *testing.T) {
	t.Parallel()
	const want = "default/29/3-a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf-72623859790382856"
	if got := goldenKey.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestKeyHasOneSpelling(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		key := drawKey(rt)
		got, err := ParseKey(key.String())
		if err != nil || got != key {
			rt.Fatalf("%+v became %+v, %v", key, got, err)
		}
	})
}

func drawKey(rt *rapid.T) Key {
	return Key{
		AgentGroup:  rapid.StringMatching(`[a-z0-9-]{1,40}`).Draw(rt, "group"),
		Incarnation: rapid.Int32Range(0, 255).Draw(rt, "incarnation"),
		Session:     uuid(rapid.Byte().Draw(rt, "session")),
		Counter:     rapid.Uint64().Draw(rt, "counter"),
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	t.Parallel()
	good := goldenKey.String()
	if _, err := ParseKey(good); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "/", "//", "default", good + "/", "/" + good, good + " ", good + "0",
		strings.Replace(good, "default", "Default", 1), strings.Replace(good, "default", "", 1),
		strings.Replace(good, "default", "..", 1), strings.Replace(good, "default", strings.Repeat("a", 41), 1),
		strings.Replace(good, "/29/", "/2a/", 1), strings.Replace(good, "/29/", "/2A/", 1),
		strings.Replace(good, "/3-", "/03-", 1), strings.Replace(good, "/3-", "/+3-", 1), strings.Replace(good, "/3-", "/256-", 1),
		strings.Replace(good, "/3-", "/-1-", 1), strings.Replace(good, "a0a1", "A0A1", 1), strings.Replace(good, "a4a5-", "a4a5", 1),
		strings.Replace(good, "-7262", "-07262", 1), strings.Replace(good, "-7262", "--7262", 1), good + "99999999999999999999",
		"default/00/3", "default/00/-", "default/00/3-4", "a/b/c",
	} {
		if k, err := ParseKey(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %+v, %v", bad, k, err)
		}
	}
}

// P7: what begins with a group's prefix is that group's, also when one name begins like another.
func TestP7_PrefixesDoNotMix(t *testing.T) {
	t.Parallel()
	short, long := goldenKey, goldenKey
	short.AgentGroup, long.AgentGroup = "a", "a-b"
	if strings.HasPrefix(long.String(), GroupPrefix("a")) || !strings.HasPrefix(short.String(), GroupPrefix("a")) {
		t.Errorf("%s, %s", short, long)
	}
}

// The hash spreads the objects of one session over most of the 256 prefixes.
func TestKeysSpread(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for i := range uint64(25_600) {
		k := goldenKey
		k.Counter = i
		seen[strings.Split(k.String(), "/")[1]]++
	}
	for prefix, n := range seen {
		if n > 200 {
			t.Errorf("prefix %s has %d of 25,600 keys", prefix, n)
		}
	}
	if len(seen) != 256 {
		t.Errorf("%d prefixes", len(seen))
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(goldenKey.String())
	f.Add("default/00/0-00000000-0000-0000-0000-000000000000-0")
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParseKey(s); err == nil && k.String() != s {
			t.Errorf("%q was read as %+v", s, k)
		}
	})
}
