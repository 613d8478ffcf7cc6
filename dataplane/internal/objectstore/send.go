package objectstore

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
)

// A body goes to the connection from where it lies, by one call of the kernel for many pieces: net/http and the AWS SDK know readers alone,
// and would copy it, 32 KiB at a time. putOnce leaves the body in the call's context, sender makes it the request's, and conn, which net/http
// hands the request's body to, knows it again. With TLS, or another Transport, it is read as any other.

type bodyKey struct{}

// sending is a context of a call that sends this body.
func sending(ctx context.Context, body [][]byte) context.Context {
	return context.WithValue(ctx, bodyKey{}, body)
}

// sender gives requests the body of their call in place of the SDK's reader of it.
type sender struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (s sender) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := r.Context().Value(bodyKey{}).([][]byte)
	if body != nil && r.Body != nil && r.ContentLength == sizeOf(body) {
		r = r.WithContext(r.Context()) // a copy: the caller's is not to be changed
		r.Body = &sentBody{newPieces(body), r.Body}
	}
	return s.next.RoundTrip(r)
}

// sentBody is a request's body. Whoever still writes it when the call has ended (its connection is being closed) reads bytes that never change.
type sentBody struct {
	*pieces
	io.Closer
}

// conn is a connection that writes a sentBody without copying it.
type conn struct{ *net.TCPConn }

// dialer dials such connections.
func dialer(d *net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, fmt.Errorf("dial the bucket: %w", err)
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			return conn{tcp}, nil
		}
		return c, nil
	}
}

// ReadFrom implements io.ReaderFrom. net/http limits a body to its length.
func (c conn) ReadFrom(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		return c.TCPConn.ReadFrom(r)
	}
	body, ok := limited.R.(*sentBody)
	if !ok || body.size-body.at > limited.N {
		return c.TCPConn.ReadFrom(r)
	}
	n, err := body.writeAll(c.TCPConn)
	limited.N -= n
	return n, err
}

// writeAll writes what has not been read yet.
func (r *pieces) writeAll(c *net.TCPConn) (int64, error) {
	rest := net.Buffers(slices.Clone(r.all[r.piece:])) // WriteTo takes them off
	if len(rest) == 0 {
		return 0, nil
	}
	rest[0] = rest[0][r.done:]
	n, err := rest.WriteTo(c)
	r.at += n
	r.piece, r.done = len(r.all), 0 // after an error nobody goes on
	return n, err
}
