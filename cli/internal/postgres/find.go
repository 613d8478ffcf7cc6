package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// binVariable names the folder of PostgreSQL's programs.
const binVariable = "STREAMHOUSE_POSTGRES_BIN"

// oldest is the oldest major version whose SQL the catalog is written for.
const oldest = 15

// findPrograms returns the folder of PostgreSQL's programs: $STREAMHOUSE_POSTGRES_BIN, that on the PATH, Debian's newest, Homebrew's. A
// folder that was made by one major version can be used by that one alone; empty: any.
func findPrograms(version string) (string, error) {
	if dir := os.Getenv(binVariable); dir != "" {
		return suits(dir, version)
	}
	var reason error
	for _, dir := range candidates() {
		found, err := suits(dir, version)
		if err == nil {
			return found, nil
		}
		if reason == nil {
			reason = err
		}
	}
	if reason != nil {
		return "", reason
	}
	return "", errors.New("no PostgreSQL found: install it (Debian: apt-get install postgresql; macOS: brew install postgresql@17), " +
		"or name its folder of programs in " + binVariable)
}

func candidates() []string {
	var dirs []string
	if initdb, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(initdb))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
	} {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		slices.SortFunc(found, func(a, b string) int { return number(b) - number(a) })
		dirs = append(dirs, found...)
	}
	return dirs
}

// number is the version in a folder's name, 0 if there is none.
func number(dir string) int {
	name := filepath.Base(filepath.Dir(dir))
	n, _ := strconv.Atoi(name[strings.LastIndexByte(name, '@')+1:])
	return n
}

func suits(dir, version string) (string, error) {
	for _, program := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, program)); err != nil {
			return "", fmt.Errorf("%s has no program %s: correct %s", dir, program, binVariable)
		}
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", dir, err)
	}
	has, err := majorVersion(string(out))
	switch {
	case err != nil:
		return "", fmt.Errorf("ask %s for its version: %w", dir, err)
	case has < oldest:
		return "", fmt.Errorf("PostgreSQL in %s is version %d: install %d or newer, or name its folder of programs in %s", dir, has, oldest, binVariable)
	case version != "" && version != strconv.Itoa(has):
		return "", fmt.Errorf("the database was made by PostgreSQL %s, and %s is version %d: "+
			"name the folder of version %s in %s, or begin anew with another --data-dir", version, dir, has, version, binVariable)
	}
	return dir, nil
}

// majorVersion reads "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)".
func majorVersion(said string) (int, error) {
	for word := range strings.FieldsSeq(said) {
		digits := word
		if end := strings.IndexFunc(word, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
			digits = word[:end]
		}
		if n, err := strconv.Atoi(digits); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("unexpected answer %q", said)
}
