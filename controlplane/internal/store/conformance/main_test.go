package conformance

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
)

// proving says that this is the long proof (STREAMHOUSE_PROVE=1): many more stories.
var proving = os.Getenv("STREAMHOUSE_PROVE") != ""

func TestMain(m *testing.M) {
	flag.Parse()
	preset("rapid.checks", map[bool]string{false: "150", true: "4000"}[proving])
	preset("rapid.steps", "80")
	preset("rapid.seed", strconv.FormatInt(time.Now().UnixNano(), 10))
	preset("rapid.shrinktime", "15s")
	preset("rapid.nofailfile", "true")
	fmt.Fprintf(os.Stderr, "seed: -rapid.seed=%s\n", flag.Lookup("rapid.seed").Value)
	pgtest.Main(m)
}

// preset sets a flag that the caller has not set.
func preset(name, value string) {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if !given {
		_ = flag.Set(name, value) // a flag of rapid's, with a value of its kind
	}
}
