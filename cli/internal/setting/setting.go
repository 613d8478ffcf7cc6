// Package setting finds out which cluster a command speaks to, and how it prints: flags go before environment variables, these before a
// YAML file, and last comes a `streamhouse dev` that runs in the same folder.
// Nothing here connects. An API key is sent only to the servers that it was given for.
// Read: setting.go, file.go, connection.go.
package setting

import (
	"fmt"
	"os"
	"strings"

	"github.com/streamhouse/streamhouse/cli/internal/datadir"
	"github.com/streamhouse/streamhouse/cli/internal/output"
)

// Flags are those of every command. The tags are kong's; names in the file are those of the flags.
type Flags struct {
	Config  string   `env:"STREAMHOUSE_CONFIG"   help:"YAML file with values for server, agent, api-key, output and data-dir."                    placeholder:"FILE"`
	Server  []string `env:"STREAMHOUSE_SERVER"   help:"Base URLs of control planes, tried in this order."                                         placeholder:"URL"`
	Agent   []string `env:"STREAMHOUSE_AGENT"    help:"Base URLs of agents; one that answers names the others."                                   placeholder:"URL"`
	APIKey  string   `env:"STREAMHOUSE_API_KEY"  help:"API key. Prefer the environment or the file: other users see arguments."                   placeholder:"KEY"`
	Output  string   `env:"STREAMHOUSE_OUTPUT"   help:"How answers are printed: table (the default), json or yaml."                               placeholder:"FORMAT" short:"o"`
	DataDir string   `env:"STREAMHOUSE_DATA_DIR" help:"Folder of a streamhouse dev. Default: .streamhouse here or in the nearest folder above." placeholder:"DIR"`
}

// Settings are the effective ones.
type Settings struct {
	Server, Agent []string
	APIKey        string
	Output        output.Format
	DataDir       string // empty: to be looked for
}

// Resolve adds the file's values to those of flags and environment.
func (f Flags) Resolve() (Settings, error) {
	var values file
	if f.Config != "" {
		var err error
		if values, err = readFile(f.Config); err != nil {
			return Settings{}, err
		}
	}
	s := Settings{
		Server: firstList(f.Server, values.Server), Agent: firstList(f.Agent, values.Agent),
		APIKey: first(f.APIKey, values.APIKey), DataDir: first(f.DataDir, values.DataDir),
	}
	var err error
	s.Output, err = output.ParseFormat(first(f.Output, values.Output))
	return s, err
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func firstList(lists ...[]string) []string {
	for _, list := range lists {
		if len(list) > 0 {
			return list
		}
	}
	return nil
}

// Dir is the data dir that was given, else the nearest one that exists, else the one that a dev would make here.
func (s Settings) Dir() (datadir.Dir, error) {
	if s.DataDir != "" {
		return datadir.At(s.DataDir)
	}
	here, err := os.Getwd()
	if err != nil {
		return datadir.Dir{}, fmt.Errorf("find data dir: %w", err)
	}
	if dir, found := datadir.Find(here); found {
		return dir, nil
	}
	return datadir.At(datadir.DefaultName)
}

// NewDir is the data dir that was given, else the one here.
func (s Settings) NewDir() (datadir.Dir, error) {
	return datadir.At(first(s.DataDir, datadir.DefaultName))
}

// normal makes URLs of one server equal.
func normal(url string) string {
	url = strings.TrimRight(strings.ToLower(strings.TrimSpace(url)), "/")
	return strings.Replace(url, "//localhost:", "//127.0.0.1:", 1)
}
