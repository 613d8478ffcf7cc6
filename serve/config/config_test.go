package config_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/serve/config"
	"github.com/streamhouse/streamhouse/serve/secret"
)

// grammar is a service like any other.
type grammar struct {
	Config     config.File   `help:"YAML file."     placeholder:"FILE"`
	Listen     string        `default:":1"          help:"Address."`
	LingerMax  time.Duration `default:"250ms"       help:"Longest linger."`
	S3Endpoint string        `help:"Bucket's URL."`
	Origins    []string      `help:"Origins."`
	Debug      bool          `help:"More."`
	Token      secret.Secret `help:"Shared secret."`

	Serve   struct{} `cmd:"" default:"1" help:"Serve."`
	Migrate struct{} `cmd:"" help:"Migrate."`
}

func parse(t *testing.T, args ...string) (grammar, *config.Parsed, string, error) {
	t.Helper()
	var into grammar
	var out bytes.Buffer
	parsed, err := config.Parse(config.Program{Name: "prog", Description: "A program.", Stdout: &out}, &into, args)
	return into, parsed, out.String(), err
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	path := file(t, "listen: file\nlinger-max: 3s\ns3-endpoint: file\ndebug: true\norigins: [a, 'b,c']\n")
	t.Setenv("STREAMHOUSE_LISTEN", "env")
	t.Setenv("STREAMHOUSE_S3_ENDPOINT", "env")
	got, parsed, _, err := parse(t, "--config", path, "--listen", "flag", "migrate")
	if err != nil {
		t.Fatal(err)
	}
	if got.Listen != "flag" || got.S3Endpoint != "env" || got.LingerMax != 3*time.Second || !got.Debug {
		t.Errorf("flags > environment > file > defaults: got %+v", got)
	}
	if fmt.Sprint(got.Origins) != "[a b,c]" || len(got.Origins) != 2 {
		t.Errorf("origins: got %q", got.Origins)
	}
	if parsed.Command != "migrate" {
		t.Errorf("command: got %q", parsed.Command)
	}
}

func TestDefaultsAndDefaultCommand(t *testing.T) {
	got, parsed, _, err := parse(t)
	if err != nil || got.Listen != ":1" || got.LingerMax != 250*time.Millisecond || parsed.Command != "serve" {
		t.Fatalf("got %+v, %+v, %v", got, parsed, err)
	}
}

func TestFileNamedByTheEnvironment(t *testing.T) {
	t.Setenv("STREAMHOUSE_CONFIG", file(t, "listen: file\n"))
	got, _, _, err := parse(t)
	if err != nil || got.Listen != "file" {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestWhatNobodyKnowsIsNamed(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	for name, c := range map[string]struct {
		file, args, env string
		want            string
	}{
		"key":             {file: "listen: a\nlisten-port: 7\n", want: `line 2: unknown key "listen-port"`},
		"underscore":      {file: "linger_max: 1s\n", want: `unknown key "linger_max"`},
		"help as a key":   {file: "help: true\n", want: `unknown key "help"`},
		"config in file":  {file: "config: other.yaml\n", want: `unknown key "config"`},
		"twice":           {file: "listen: a\nlisten: b\n", want: `"listen"`},
		"nested":          {file: "listen:\n  host: a\n", want: `key "listen": must be a value`},
		"null":            {file: "listen:\n", want: `key "listen": must be a value`},
		"list of lists":   {file: "origins: [[a]]\n", want: `key "origins"`},
		"no mapping":      {file: "- listen\n", want: "must be a mapping"},
		"no yaml":         {file: "listen: [\n", want: "config.yaml"},
		"bad duration":    {file: "linger-max: soon\n", want: "linger-max"},
		"bad bool":        {file: "debug: perhaps\n", want: "debug"},
		"flag":            {args: "--listen-port=7", want: "--listen-port"},
		"command":         {args: "serv", want: "serv"},
		"flag without":    {args: "--listen", want: "--listen"},
		"bad flag value":  {args: "--linger-max=soon", want: "--linger-max"},
		"misspelt env":    {env: "STREAMHOUSE_LINGERMAX", want: "STREAMHOUSE_LINGERMAX: did you mean STREAMHOUSE_LINGER_MAX"},
		"missing file":    {args: "--config=" + missing, want: "missing.yaml"},
		"typo in the env": {env: "STREAMHOUSE_LISTENN", want: "STREAMHOUSE_LISTEN?"},
	} {
		t.Run(name, func(t *testing.T) {
			var args []string
			if c.file != "" {
				args = append(args, "--config", file(t, c.file))
			}
			if c.args != "" {
				args = append(args, c.args)
			}
			if c.env != "" {
				t.Setenv(c.env, "1")
			}
			_, _, _, err := parse(t, args...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q in it", err, c.want)
			}
			if config.ExitStatus(err) != 2 {
				t.Errorf("exit status %d, want 2", config.ExitStatus(err))
			}
		})
	}
}

func TestEnvironmentOfOthersIsNoError(t *testing.T) {
	for _, name := range []string{"STREAMHOUSE_SERVER", "STREAMHOUSE_API_KEY", "STREAMHOUSE_BIN", "STREAMHOUSE_ZONE", "STREAMHOUSE_DATABASE_URL", "STREAMHOUSE_ORIGIN"} {
		t.Setenv(name, "x")
	}
	if _, _, _, err := parse(t); err != nil {
		t.Fatal(err)
	}
}

func TestEmptyFileIsNoError(t *testing.T) {
	if got, _, _, err := parse(t, "--config", file(t, "")); err != nil || got.Listen != ":1" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if _, _, _, err := parse(t, "--config", file(t, "# nothing\n")); err != nil {
		t.Fatal(err)
	}
}

func TestSecretsNeverShow(t *testing.T) {
	const token = "hunter2hunter2"
	check := func(where, text string) {
		t.Helper()
		if strings.Contains(text, token) {
			t.Errorf("%s shows the secret: %s", where, text)
		}
	}
	t.Setenv("STREAMHOUSE_TOKEN", token)
	got, parsed, _, err := parse(t)
	if err != nil || got.Token.Reveal() != token {
		t.Fatalf("got %q, %v", got.Token.Reveal(), err)
	}
	check("settings", fmt.Sprintf("%+v %v", parsed.Settings, parsed.LogValue()))
	if !strings.Contains(fmt.Sprint(parsed.Settings), "{token (hidden)}") {
		t.Errorf("settings must say that there is a token: %v", parsed.Settings)
	}
	_, _, help, err := parse(t, "--help")
	if !errors.Is(err, config.ErrHelp) || config.ExitStatus(err) != 0 {
		t.Fatalf("help: got %v", err)
	}
	check("help", help)
	for _, want := range []string{"--listen", "--linger-max", "$STREAMHOUSE_S3_ENDPOINT", "$STREAMHOUSE_TOKEN", "migrate", "A program."} {
		if !strings.Contains(help, want) {
			t.Errorf("help lacks %s:\n%s", want, help)
		}
	}
	_, _, help, err = parse(t, "--token", token, "--config", file(t, "token: "+token+"\nx: "+token+"\n"))
	check("error", fmt.Sprint(err, help))
}
