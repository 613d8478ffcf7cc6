// Command dashboards makes Grafana's JSON of the dashboards that are described in a folder's dashboards.yaml, into its folder dashboards.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/streamhouse/streamhouse/e2e/dashboard"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: dashboards FOLDER")
	}
	text, err := os.ReadFile(filepath.Join(args[0], "dashboards.yaml"))
	if err != nil {
		return err
	}
	all, err := dashboard.Parse(text)
	if err != nil {
		return err
	}
	made, err := renderAll(all)
	if err != nil {
		return err
	}
	return replace(filepath.Join(args[0], "dashboards"), made)
}

func renderAll(all []dashboard.Dashboard) (made map[string][]byte, err error) {
	made = map[string][]byte{}
	for _, d := range all {
		if made[d.Name+".json"], err = dashboard.Render(d); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// replace makes the folder's files those that were made.
func replace(folder string, made map[string][]byte) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	old, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range old {
		if made[entry.Name()] == nil {
			if err := os.Remove(filepath.Join(folder, entry.Name())); err != nil {
				return err
			}
		}
	}
	for name, content := range made {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil { //nolint:gosec // it is for everybody
			return err
		}
	}
	return nil
}
