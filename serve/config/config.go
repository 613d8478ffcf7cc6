// Package config reads a service's configuration: flags, then environment, then a YAML file, then defaults, in this precedence.
// One struct describes all of it with kong tags; the flag --linger-max is STREAMHOUSE_LINGER_MAX in the environment and linger-max in the
// file. What nobody knows is an error that names it, wherever it stands. Values of type secret.Secret never show.
// Nothing here knows a service's settings, or judges values: Config.Validate of the service does.
// Read: config.go, file.go.
package config

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"
)

// EnvPrefix begins the name of each environment variable.
const EnvPrefix = "STREAMHOUSE_"

// ErrHelp says that help was asked for and has been printed.
var ErrHelp = errors.New("help was printed")

// UsageError says that the command line, the environment or the file is wrong.
type UsageError struct{ cause error }

func (e *UsageError) Error() string { return e.cause.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.cause }

// Program says whose configuration it is.
type Program struct {
	// Name of the binary.
	Name string
	// Description for --help.
	Description string
	// Stdout takes --help.
	Stdout io.Writer
}

// Parsed is a configuration that has been read.
type Parsed struct {
	// Command is the subcommand chosen, or the default one.
	Command string
	// Settings has the effective configuration, secrets hidden, in the order of the struct.
	Settings []Setting
}

// Setting is one effective value, fit to be shown.
type Setting struct {
	Name, Value string
}

// LogValue shows all settings as one group.
func (p *Parsed) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, len(p.Settings))
	for _, setting := range p.Settings {
		attrs = append(attrs, slog.String(setting.Name, setting.Value))
	}
	return slog.GroupValue(attrs...)
}

// Parse fills into, a pointer to a struct with kong tags, whose commands are fields with the tag cmd. args go without the program's name.
// Errors: ErrHelp, *UsageError.
func Parse(program Program, into any, args []string) (*Parsed, error) {
	helped := false
	parser, err := kong.New(into,
		kong.Name(program.Name),
		kong.Description(program.Description),
		kong.Writers(program.Stdout, io.Discard),
		kong.Exit(func(int) { helped = true }),
		kong.FlagNamer(kebab),
		kong.PostBuild(nameEnvironment),
	)
	if err != nil {
		return nil, fmt.Errorf("describe configuration: %w", err)
	}
	ctx, err := parser.Parse(args)
	if helped {
		return nil, ErrHelp
	}
	if err != nil {
		return nil, &UsageError{cause: err}
	}
	if err := checkEnvironment(parser, os.Environ()); err != nil {
		return nil, &UsageError{cause: err}
	}
	return &Parsed{Command: ctx.Command(), Settings: settings(parser)}, nil
}

// ExitStatus is 0 for done (help included), 2 for wrong usage, 1 for anything else.
func ExitStatus(err error) int {
	if err == nil || errors.Is(err, ErrHelp) {
		return 0
	}
	if _, ok := errors.AsType[*UsageError](err); ok {
		return 2
	}
	return 1
}

// Reject makes an error of Validate one of usage; nil stays nil.
func Reject(err error) error {
	if err == nil {
		return nil
	}
	return &UsageError{cause: err}
}

// kebab names a flag after its field: TLSCert is tls-cert, S3Endpoint s3-endpoint (kong's own namer makes s-3-endpoint of it).
func kebab(field string) string {
	var name strings.Builder
	runes := []rune(field)
	for i, r := range runes {
		afterLower := i > 0 && !unicode.IsUpper(runes[i-1])
		beforeLower := i > 0 && i+1 < len(runes) && unicode.IsLower(runes[i+1])
		if unicode.IsUpper(r) && (afterLower || beforeLower) {
			name.WriteByte('-')
		}
		name.WriteRune(unicode.ToLower(r))
	}
	return name.String()
}

// nameEnvironment gives each flag its variable. kong.DefaultEnvars would name s3-endpoint S_3_ENDPOINT.
func nameEnvironment(parser *kong.Kong) error {
	for _, flag := range allFlags(parser.Model.Node) {
		if flag.Name == "help" {
			continue
		}
		name := EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		flag.Envs = []string{name}
		flag.Tag.Envs = []string{name}
	}
	return nil
}

// otherPrograms has variables of the command and of tests, which may stand in the same environment.
var otherPrograms = map[string]bool{
	EnvPrefix + "SERVER": true, EnvPrefix + "AGENT": true, EnvPrefix + "API_KEY": true,
	EnvPrefix + "BIN": true, EnvPrefix + "POSTGRES_BIN": true, EnvPrefix + "OUTPUT": true,
}

// checkEnvironment finds misspelt variables. Another binary's variables are not ours to judge, so only a near miss of one that we know is
// an error.
func checkEnvironment(parser *kong.Kong, environment []string) error {
	known := map[string]bool{}
	for _, flag := range allFlags(parser.Model.Node) {
		for _, name := range flag.Envs {
			known[name] = true
		}
	}
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, EnvPrefix) || known[name] || otherPrograms[name] {
			continue
		}
		if near := nearest(name, known); near != "" {
			return fmt.Errorf("unknown environment variable %s: did you mean %s?", name, near)
		}
	}
	return nil
}

// nearest finds a name that differs from another in its underscores alone, or in one character. A plural is no misspelling: the control
// plane knows AGENT_GROUPS, the agents next to it AGENT_GROUP.
func nearest(name string, known map[string]bool) string {
	for candidate := range known {
		plural := candidate == name+"S" || name == candidate+"S"
		if !plural && (strings.ReplaceAll(candidate, "_", "") == strings.ReplaceAll(name, "_", "") || oneEdit(candidate, name)) {
			return candidate
		}
	}
	return ""
}

// oneEdit tells whether one insertion, deletion or replacement turns a into b.
func oneEdit(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) == len(b) {
		return i == len(a) || a[i+1:] == b[i+1:]
	}
	return a[i:] == b[i+1:]
}

func allFlags(node *kong.Node) []*kong.Flag {
	flags := append([]*kong.Flag(nil), node.Flags...)
	for _, child := range node.Children {
		flags = append(flags, allFlags(child)...)
	}
	return flags
}

func settings(parser *kong.Kong) []Setting {
	var shown []Setting
	for _, flag := range parser.Model.Flags {
		if flag.Name == "help" {
			continue
		}
		shown = append(shown, Setting{Name: flag.Name, Value: show(flag.Target)})
	}
	return shown
}

// show asks a value's own methods first: a secret hides itself there.
func show(value reflect.Value) string {
	if text, ok := reflect.TypeAssert[encoding.TextMarshaler](value); ok {
		if shown, err := text.MarshalText(); err == nil {
			return string(shown)
		}
	}
	if value.Kind() == reflect.Slice {
		parts := make([]string, value.Len())
		for i := range parts {
			parts[i] = show(value.Index(i))
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(value.Interface())
}
