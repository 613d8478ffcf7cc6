package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

// kinds of files that are served. The machine's own table is not asked: the answer would depend on it.
var kinds = map[string]string{
	".html":  "text/html; charset=utf-8",
	".js":    "text/javascript; charset=utf-8",
	".css":   "text/css; charset=utf-8",
	".svg":   "image/svg+xml",
	".txt":   "text/plain; charset=utf-8",
	".woff2": "font/woff2",
}

// file is one of the console's, ready to be sent.
type file struct {
	kind    string
	etag    string
	cache   string
	content []byte
	packed  []byte // gzip; nil: it would not be smaller
}

func newFile(name string, content []byte) (*file, error) {
	kind, known := kinds[path.Ext(name)]
	if !known {
		return nil, fmt.Errorf("%s: no known kind of file", name)
	}
	sum := sha256.Sum256(content)
	f := &file{kind: kind, etag: `"` + hex.EncodeToString(sum[:16]) + `"`, cache: "no-cache", content: content}
	if strings.HasPrefix(name, "assets/") { // their names change with their content
		f.cache = "public, max-age=31536000, immutable"
	}
	packed, err := pack(content)
	if err == nil && len(packed) < len(content)*9/10 {
		f.packed = packed
	}
	return f, err
}

func pack(content []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", f.cache)
	if f.packed == nil || !acceptsGzip(r) {
		h.Set("ETag", f.etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
		return
	}
	h.Add("Vary", "Accept-Encoding")
	h.Set("ETag", strings.TrimSuffix(f.etag, `"`)+`-gzip"`) // another sequence of bytes
	if r.Header.Get("If-None-Match") == h.Get("ETag") {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Encoding", "gzip")
	h.Set("Content-Length", strconv.Itoa(len(f.packed)))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(f.packed) // whoever hung up does not care
}

// acceptsGzip: every browser does, and says so in this form.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		if name, weight, _ := strings.Cut(strings.TrimSpace(part), ";"); strings.TrimSpace(name) == "gzip" {
			return strings.ReplaceAll(weight, " ", "") != "q=0"
		}
	}
	return false
}
