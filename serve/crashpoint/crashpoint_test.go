package crashpoint

import (
	"slices"
	"strings"
	"testing"
)

func TestRegister(t *testing.T) {
	t.Parallel()
	a := Register("test.b")
	Register("test.a")
	if names := Names(); !slices.IsSorted(names) || !slices.Contains(names, "test.a") || !slices.Contains(names, "test.b") {
		t.Errorf("names: %q", names)
	}
	a.Here() // nobody has asked for it
	var list strings.Builder
	if err := List(&list); err != nil || strings.Contains(list.String(), "test.a") != Armed {
		t.Errorf("list: %q, %v, armed: %v", list.String(), err, Armed)
	}
	defer func() {
		if recover() == nil {
			t.Error("a name was registered twice")
		}
	}()
	Register("test.a")
}
