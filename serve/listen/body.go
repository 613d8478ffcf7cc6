package listen

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"connectrpc.com/grpcreflect/v2"
)

// corsHeaders has the constant parts of answers to other origins.
type corsHeaders struct{ methods, headers, exposed string }

const preflightSeconds = "7200" // the longest that browsers keep it

func (c corsHeaders) preflight(w http.ResponseWriter) {
	w.Header().Set("Access-Control-Allow-Methods", c.methods)
	w.Header().Set("Access-Control-Allow-Headers", c.headers)
	w.Header().Set("Access-Control-Max-Age", preflightSeconds)
	w.WriteHeader(http.StatusNoContent)
}

func join(values []string) string { return strings.Join(values, ", ") }

// boundBody cuts requests whose body stops arriving: without it a caller could hold a connection, and a decoder, for ever.
// Reflection is left out: its body lasts as long as the tool at the other end likes.
func boundBody(next http.Handler, timeout time.Duration) http.Handler {
	reflection := [...]string{"/" + grpcreflect.ReflectV1ServiceName + "/", "/" + grpcreflect.ReflectV1AlphaServiceName + "/"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lasting := strings.HasPrefix(r.URL.Path, reflection[0]) || strings.HasPrefix(r.URL.Path, reflection[1])
		if r.Body == nil || r.Body == http.NoBody || lasting {
			next.ServeHTTP(w, r)
			return
		}
		body := &boundedBody{ReadCloser: r.Body, control: http.NewResponseController(w), timeout: timeout}
		defer body.end()
		bounded := *r // a copy: net/http looks at its own request's body to see whether the connection can be used again
		bounded.Body = body
		next.ServeHTTP(w, &bounded)
	})
}

// boundedBody gives each read a deadline. The deadline goes with the body's end, so that it does not cut a long answer.
type boundedBody struct {
	io.ReadCloser

	timeout time.Duration

	mu      sync.Mutex
	control *http.ResponseController // nil: ended. A goroutine of the call may still read after the handler has returned, and control is no more.
}

// Read reads within the timeout.
func (b *boundedBody) Read(p []byte) (int, error) {
	b.bound()
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end()
	}
	return n, err
}

// Close ends the body.
func (b *boundedBody) Close() error {
	b.end()
	return b.ReadCloser.Close()
}

func (b *boundedBody) bound() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.control != nil {
		_ = b.control.SetReadDeadline(time.Now().Add(b.timeout)) // unsupported by test recorders alone
	}
}

func (b *boundedBody) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.control != nil {
		_ = b.control.SetReadDeadline(time.Time{})
		b.control = nil
	}
}
