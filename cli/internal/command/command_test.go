package command

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/produce"
)

func TestMain(m *testing.M) {
	for _, variable := range os.Environ() { // nobody's cluster is meant
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "STREAMHOUSE_") && name != "STREAMHOUSE_BIN" {
			_ = os.Unsetenv(name)
		}
	}
	goleak.VerifyTestMain(m)
}

func call(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, complaints bytes.Buffer
	status = Run(t.Context(), Program{Version: "v1", Stdin: strings.NewReader(""), Stdout: &out, Stderr: &complaints}, args)
	return status, out.String(), complaints.String()
}

func TestWrongUsageIsRefused(t *testing.T) {
	t.Parallel()
	none := t.TempDir()
	for line, want := range map[string]string{
		"topik create x":                   "topik",
		"topic invent x":                   "invent",
		"topic":                            "expected one of",
		"topic create":                     "<name>",
		"topic create x y":                 "y",
		"topic create x --partitioning 6":  "--partitioning",
		"topic create x --partitions many": "--partitions",
		"topic create x --retention 0s":    "more than nothing",
		"topic create x --retention long":  "such as 168h",
		"topic create x --retention 1h --set retention_ms=3600000":     "set twice",
		"topic create x --retention-bytes 10GB":                        "--retention-bytes",
		"topic create x --cleanup-policy fold":                         "--cleanup-policy",
		"topic create x --set cleanup_policy=fold":                     "must be one of delete, compact and compact_and_delete",
		"topic create x --set min_compaction_lag_ms=1h":                "number of milliseconds",
		"topic update x --partitions 0":                                "--partitions",
		"records delete x":                                             "--before",
		"records delete x --before -1":                                 "--before",
		"consume x --reset never":                                      "--reset",
		"topic create x --set retention=1h":                            "no such setting",
		"topic create x --set max_record_bytes=big":                    "number of bytes",
		"topic create x --set allow_buffered_acks=7":                   "true or false",
		"topic create x --max-record-bytes 1 --set max_record_bytes=1": "set twice",
		"topic update x":                                               "nothing to change",
		"produce":                                                      "<topic>",
		"produce x --acks some":                                        "--acks",
		"produce x --format xml":                                       "--format",
		"produce x --header novalue":                                   "KEY=VALUE",
		"produce x --header =v":                                        "KEY=VALUE",
		"produce x --partition -1":                                     "--partition",
		"produce x --rate -1":                                          "--rate",
		"produce x --format json --key-separator ,":                    "--key-separator",
		"consume x --format text":                                      "--format",
		"consume x --format {{.Nope}}":                                 "--format",
		"consume x --from-beginning --offset 1":                        "--offset",
		"consume x --offset -1":                                        "--offset",
		"consume x --at never":                                         "--at",
		"consume x --max 0":                                            "--max",
		"consume x --consumer-group g":                                 "--consumer-group",
		"consume x -o yaml":                                            "YAML",
		"key create x":                                                 "--role",
		"key create x --role boss":                                     "--role",
		"key create x --role admin --agent-group g":                    "--agent-group",
		"lease transfer x 0":                                           "--to",
		"lease transfer x 0 --to a --unpin":                            "--unpin",
		"lease transfer x 0 --unpin --wait":                            "--wait",
		"lease transfer x zero --unpin":                                "zero",
		"agent drain":                                                  "<id>",
		"agent drain x --dry-run --wait":                               "--wait",
		"agent-group create":                                           "<name>",
		"placement explain x":                                          "<partition>",
		"top --every 1ms":                                              "--every",
		"top --count -1":                                               "--count",
		"topic create x --preferred-zones a --set preferred_zones=b":   "set twice",
		"bench produce --record-bytes 1":                               "--record-bytes",
		"bench produce --duration 0s":                                  "--records",
		"bench produce --batch prebuilt --verify":                      "--verify",
		"bench produce --limit-time 1ms":                               "--limit-time",
		"bench latency --rate 0":                                       "--rate",
		"bench consume --passes 0":                                     "--passes",
		"bench controlplane --entries 0":                               "--entries",
		"bench controlplane --limit-time 2m":                           "--limit-time",
		"bench produce --acks none":                                    "--acks",
		"bench produce --partitions 0 --rate -1":                       "--rate",
		"dev --zones a,a":                                              "--zones",
		"dev --controlplanes 0":                                        "--controlplanes",
		"dev --s3-access-key x":                                        "--s3-endpoint",
		"dev --agent-flag linger":                                      "--agent-flag",
		"dev --agent-flag listen=x":                                    "dev itself",
		"dev --s3-put-delay 1h":                                        "--s3-put-delay",
		"dev --s3-endpoint http://x --s3-md5":                          "--s3-md5",
		"dev bogus":                                                    "bogus",
		"dev status more":                                              "more",
		"version -o xml":                                               "xml",
		"topic list --server ftp://x --agent http://127.0.0.1:1 --api-key k": "base URL",
	} {
		args := append([]string{"--data-dir", none}, strings.Fields(line)...)
		status, stdout, stderr := call(t, args...)
		if status != statusUsage || !strings.Contains(stderr, want) || stdout != "" {
			t.Errorf("%s: status %d, said %q, printed %q; want 2 and %q", line, status, stderr, stdout, want)
		}
		if strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "streamhouse: ") {
			t.Errorf("%s: an error is one line: %q", line, stderr)
		}
	}
}

func TestFailuresSayWhatToDo(t *testing.T) {
	t.Parallel()
	none := t.TempDir()
	nobody := []string{"--server", "http://127.0.0.1:1", "--agent", "http://127.0.0.1:1", "--api-key", "k"}
	for line, want := range map[string]string{
		"topic list":                          "streamhouse dev",
		"produce x":                           "streamhouse dev",
		"dev status":                          "no dev is running",
		"dev agent start":                     "no dev is running",
		"produce x /no/it":                    "no such file",
		"produce x /":                         "is a folder",
		"consume x -o json --config /no/file": "--config",
	} {
		status, _, stderr := call(t, append([]string{"--data-dir", none}, strings.Fields(line)...)...)
		if status == statusDone || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: status %d, said %q, want %q", line, status, stderr, want)
		}
	}
	for _, line := range []string{"lease list", "consume x"} {
		status, _, stderr := call(t, append(strings.Fields(line), nobody...)...)
		if status != statusFailed || !strings.Contains(stderr, "is the cluster running there") {
			t.Errorf("%s: status %d, said %q", line, status, stderr)
		}
	}
	if status, _, stderr := call(t, "--data-dir", filepath.Join(none, "no"), "dev", "down"); status != statusDone {
		t.Errorf("down of nothing: %d, %s", status, stderr)
	}
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"version":             "v1\n",
		"version -o json":     "{\n  \"version\": \"v1\"\n}\n",
		"version -o yaml":     "version: v1\n",
		"":                    "Usage: streamhouse <command>",
		"--help":              "dev agent start",
		"dev --help":          "Usage: streamhouse dev [flags]",
		"dev agent --help":    "Usage: streamhouse dev agent",
		"topic create --help": "Usage: streamhouse topic create <name> [flags]",
		"produce --help":      "--key-separator",
		"consume --help":      "--from-beginning",
	} {
		status, stdout, stderr := call(t, strings.Fields(line)...)
		if status != statusDone || !strings.Contains(stdout, want) || stderr != "" {
			t.Errorf("%q: status %d, printed %q, said %q, want %q", line, status, stdout, stderr, want)
		}
	}
}

func TestAdviceFollowsTheClusterOwnWords(t *testing.T) {
	t.Parallel()
	err := advise(&client.Error{Reason: client.ReasonUnknownTopic, Message: "no topic x", Partition: -1})
	if !strings.Contains(err.Error(), "no topic x") || !strings.Contains(err.Error(), "topic create") || !errors.Is(err, client.ReasonUnknownTopic) {
		t.Errorf("got %v", err)
	}
	if advise(nil) != nil {
		t.Error("no error needs no advice")
	}
}

// P6: an interruption says of every record what became of it.
func TestP6_InterruptionTellsWhatIsUncertain(t *testing.T) {
	t.Parallel()
	err := explain(produce.Summary{Records: 5, Errors: 3, Uncertain: 2}, errors.Join(context.Canceled, produce.ErrInterrupted))
	want := "interrupted: 5 records are stored, 1 that were read surely not, 2 possibly; the rest of the input was not sent"
	if err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if other := errors.New("x"); explain(produce.Summary{}, other).Error() != "x" {
		t.Error("other errors are their own words")
	}
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	if got := oneLine("a\n\n  b\nc"); got != "a; b; c" {
		t.Errorf("got %q", got)
	}
}

func TestPasswordsAreHidden(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"postgres://u:p@h:1/d?x=y": "postgres://u@h:1/d?x=y", "http://h:1": "http://h:1", "": "",
	} {
		if got := withoutPassword(address); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
}
