package listen

import (
	"context"
	"net/http"
	"strconv"
)

// Pieces are byte strings that an answer's codec leaves out of the message that it writes; they are put in where the message goes to the
// connection. What is large and never changes is so sent from where it lies. They belong to one call.
type Pieces struct{ all []Piece }

// Piece belongs before the message's byte at At. Its bytes must not change until the call has ended.
type Piece struct {
	At    int
	Bytes []byte
}

// Set replaces the pieces of the message that is written next, in order.
func (p *Pieces) Set(all []Piece) { p.all = all }

type piecesKey struct{}

// PiecesOf is where the codec of this call leaves pieces; nil: its message has to be written in one.
func PiecesOf(ctx context.Context) *Pieces {
	p, _ := ctx.Value(piecesKey{}).(*Pieces)
	return p
}

// InPieces lets answers of next go out in pieces where a message is all of the body: other protocols write its length before it.
func InPieces(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") != "application/proto" {
			next.ServeHTTP(w, r)
			return
		}
		pieces := &Pieces{}
		next.ServeHTTP(&piecesWriter{w, pieces}, r.WithContext(context.WithValue(r.Context(), piecesKey{}, pieces)))
	})
}

type piecesWriter struct {
	http.ResponseWriter

	pieces *Pieces
}

// Unwrap is for http.ResponseController.
func (w *piecesWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader is called before a refusal: whatever was left for the message that is not written goes.
func (w *piecesWriter) WriteHeader(status int) {
	w.pieces.all = nil
	w.ResponseWriter.WriteHeader(status)
}

// Write writes a message with its pieces.
func (w *piecesWriter) Write(message []byte) (int, error) {
	all := w.pieces.all
	w.pieces.all = nil
	if len(all) == 0 {
		return w.ResponseWriter.Write(message)
	}
	size := len(message)
	for _, p := range all {
		size += len(p.Bytes)
	}
	w.Header().Set("Content-Length", strconv.Itoa(size))
	at := 0
	for _, p := range all {
		if _, err := w.ResponseWriter.Write(message[at:p.At]); err != nil {
			return at, err
		}
		at = p.At
		if _, err := w.ResponseWriter.Write(p.Bytes); err != nil {
			return at, err
		}
	}
	n, err := w.ResponseWriter.Write(message[at:])
	return at + n, err
}
