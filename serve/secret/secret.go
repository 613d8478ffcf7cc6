// Package secret holds values that must not show: keys, passwords, URLs with passwords in them.
// A Secret is silent in fmt, slog, JSON and YAML; whoever needs the value says Reveal, which is easy to find in a review.
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// hidden is what a Secret shows instead of its value.
const hidden = "(hidden)"

// Secret is a value that does not show. The zero Secret is empty.
type Secret struct {
	// A pointer, because fmt prints unexported fields without asking their methods; of a pointer it prints the address.
	value *string
}

// New wraps a value.
func New(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: &value}
}

// Reveal returns the value.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty tells whether there is no value.
func (s Secret) Empty() bool { return s.value == nil }

// Equal compares two values in constant time.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String shows that there is a value, not which.
func (s Secret) String() string {
	if s.Empty() {
		return ""
	}
	return hidden
}

// Format keeps every verb silent, %#v and %x included.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, s.String()) }

// LogValue keeps slog silent.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps JSON, YAML and everything else that marshals text silent.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the value as it is.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = New(string(text))
	return nil
}
