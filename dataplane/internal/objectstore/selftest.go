package objectstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
)

// CapabilityError says what a store lacks. Nothing durable may be written to such a store.
type CapabilityError struct {
	// Missing has a phrase for each lacking capability.
	Missing []string
}

func (e *CapabilityError) Error() string {
	return "bucket lacks what StreamHouse needs: " + strings.Join(e.Missing, "; ")
}

// SelfTest finds out whether the store can be trusted: conditional writes, checksums, ranges, listing. It
// writes and deletes small objects under prefix ("" or one that ends in "/"). Errors: *CapabilityError, or the
// *OpError of a call that should have succeeded (rights, bucket, reach).
func SelfTest(ctx context.Context, store Store, prefix string) error {
	probe := prefix + "selftest/" + rand.Text()
	p := &selfTest{store: store, written: probe + "-written", refused: probe + "-refused"}
	err := errors.Join(p.writes(ctx), p.reads(ctx), p.list(ctx, probe))
	err = errors.Join(err, p.cleanUp(ctx))
	if err != nil {
		return fmt.Errorf("self-test of the bucket: %w", err)
	}
	if len(p.missing) > 0 {
		return &CapabilityError{Missing: p.missing}
	}
	return nil
}

var probeBody = []byte("StreamHouse tries what this bucket can do.")

type selfTest struct {
	store            Store
	written, refused string
	missing          []string
}

func (p *selfTest) expect(ok bool, capability string) {
	if !ok {
		p.missing = append(p.missing, capability)
	}
}

func (p *selfTest) writes(ctx context.Context) error {
	sum := Checksum(probeBody)
	if err := p.store.Put(ctx, p.written, [][]byte{probeBody[:9], probeBody[9:]}, sum); err != nil {
		return err
	}
	other := bytes.ToUpper(probeBody)
	err := p.store.Put(ctx, p.written, [][]byte{other}, Checksum(other))
	p.expect(errors.Is(err, ErrConflict), "PUT with If-None-Match: * must refuse a key that is taken (412)")
	err = p.store.Put(ctx, p.written, [][]byte{probeBody[:9], probeBody[9:]}, sum)
	p.expect(err == nil, "a repeated PUT of the same bytes must be recognisable by HEAD")
	err = p.store.Put(ctx, p.refused, [][]byte{probeBody}, sum+1)
	p.expect(errors.Is(err, ErrRefused), "PUT must refuse a body that does not match its CRC-32C")
	return nil
}

func (p *selfTest) reads(ctx context.Context) error {
	info, err := p.store.Head(ctx, p.written)
	if err != nil {
		return err
	}
	p.expect(info.SizeBytes == int64(len(probeBody)), "HEAD must tell an object's length")
	p.expect(info.HasCRC32C && info.CRC32C == Checksum(probeBody), "HEAD must tell an object's CRC-32C")

	part := make([]byte, 7)
	err = p.store.GetRange(ctx, p.written, 3, part)
	p.expect(err == nil && bytes.Equal(part, probeBody[3:10]), "GET must honour ranges")
	n, size, err := p.store.GetTail(ctx, p.written, part)
	tail := probeBody[len(probeBody)-len(part):]
	p.expect(err == nil && size == int64(len(probeBody)) && bytes.Equal(part[:n], tail), "GET must honour suffix ranges")
	err = p.store.GetRange(ctx, p.written, int64(len(probeBody))-3, part)
	p.expect(errors.Is(err, ErrOutOfRange), "GET must tell when a range passes the end")
	return nil
}

func (p *selfTest) list(ctx context.Context, probe string) error {
	page, err := p.store.List(ctx, probe, "", 10)
	if err != nil {
		return err
	}
	p.expect(len(page.Objects) == 1 && page.Objects[0].Key == p.written, "a list must show what was written, at once, and nothing else")
	return nil
}

func (p *selfTest) cleanUp(ctx context.Context) error {
	if err := p.store.Delete(ctx, []string{p.written, p.refused}); err != nil {
		return err
	}
	_, err := p.store.Head(ctx, p.written)
	p.expect(errors.Is(err, ErrNotFound), "HEAD must not find what was deleted")
	return nil
}
