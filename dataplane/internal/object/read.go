package object

import (
	"context"
	"fmt"
)

// tailGuess is what the first read of a footer asks for: it covers 800 segments in one request.
const tailGuess = 64 << 10

// Reader is what ReadFooter needs of a bucket.
type Reader interface {
	// GetTail reads the last bytes of an object into the beginning of dst: n of them, len(dst) or, if the
	// object is smaller, all of it. size is the object's.
	GetTail(ctx context.Context, key string, dst []byte) (n int, size int64, err error)
	// GetRange fills dst from the object's bytes at position on.
	GetRange(ctx context.Context, key string, position int64, dst []byte) error
}

// ReadFooter reads the footer of the object under key without the object, in one request or two, and checks
// that the object was written for this key. Errors: the reader's; *VersionError; all others wrap ErrCorrupt.
func ReadFooter(ctx context.Context, r Reader, key string) (Footer, error) {
	f, _, err := ReadFooterOrAll(ctx, r, key, 0)
	return f, err
}

// ReadFooterOrAll is ReadFooter that also answers all bytes of an object that is so small that they came with its footer; else nil. bytes is how many
// of the last ones are to come; fewer than a footer is likely to have do not count.
func ReadFooterOrAll(ctx context.Context, r Reader, key string, bytes int64) (Footer, []byte, error) {
	tail := make([]byte, max(tailGuess, bytes))
	n, size, err := r.GetTail(ctx, key, tail)
	if err != nil {
		return Footer{}, nil, fmt.Errorf("read footer of %s: %w", key, err)
	}
	f, err := readFooter(ctx, r, key, tail[:n], size)
	if err != nil {
		return Footer{}, nil, fmt.Errorf("read footer of %s: %w", key, err)
	}
	if written := f.Key.String(); written != key {
		return Footer{}, nil, fmt.Errorf("read footer of %s: %w", key, corrupt("it was written as %s", written))
	}
	if int64(n) < size {
		return f, nil, nil
	}
	return f, tail[:n], nil
}

// readFooter finds the footer in the last bytes of an object, or behind them.
func readFooter(ctx context.Context, r Reader, key string, tail []byte, size int64) (Footer, error) {
	n := len(tail)
	if n < trailerSize || int64(n) > size {
		return Footer{}, corrupt("%d bytes are fewer than the smallest object has", size)
	}
	t, err := parseTrailer(tail, size)
	if err != nil {
		return Footer{}, err
	}
	if t.footerSize+trailerSize <= int64(n) {
		end := n - trailerSize
		return t.parseFooter(tail[end-int(t.footerSize) : end])
	}
	footer := make([]byte, t.footerSize)
	if err := r.GetRange(ctx, key, t.footerPosition, footer); err != nil {
		return Footer{}, err
	}
	return t.parseFooter(footer)
}
