package rpc

import (
	"strings"

	"github.com/streamhouse/streamhouse/serve/refusal"
)

// storable refuses text that PostgreSQL cannot hold: the schema's rules let the character NUL through, and the database calls it an error of ours.
func storable(field, text string) error {
	if strings.ContainsRune(text, 0) {
		return refusal.Invalid(field, "%s: must not have the character NUL in it", field)
	}
	return nil
}
