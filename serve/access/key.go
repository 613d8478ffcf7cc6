package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/streamhouse/streamhouse/serve/secret"
)

// An API key is keyPrefix and 32 random bytes in base64url without padding. The prefix lets scanners find leaked ones.
const (
	keyPrefix     = "shk_"
	keyBytes      = 32
	keyCharacters = len(keyPrefix) + (keyBytes*8+5)/6
)

// KeyHash is the SHA-256 of an API key, all that is kept of it. A fast hash is right: the key has 256 bits of its own. Looking a hash up
// needs no constant time: who can steer the hash of a guess knows nothing about the key.
type KeyHash [sha256.Size]byte

// NewKey makes an API key.
func NewKey() secret.Secret {
	random := make([]byte, keyBytes)
	_, _ = rand.Read(random) // never fails: crypto/rand ends the program instead
	return secret.New(keyPrefix + base64.RawURLEncoding.EncodeToString(random))
}

// Hash returns the hash of a key.
func Hash(key string) KeyHash { return sha256.Sum256([]byte(key)) }

// WellFormed tells whether a string looks like an API key.
func WellFormed(key string) bool {
	random, found := strings.CutPrefix(key, keyPrefix)
	if !found || len(key) != keyCharacters {
		return false
	}
	_, err := base64.RawURLEncoding.DecodeString(random)
	return err == nil
}

// bearer takes the key out of an Authorization header.
func bearer(header string) (key string, ok bool) {
	scheme, key, found := strings.Cut(header, " ")
	return key, found && strings.EqualFold(scheme, "Bearer") && WellFormed(key)
}
