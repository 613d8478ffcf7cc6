// Package console serves the web console: the pages that console/ builds, which are checked in beside this file and embedded, so that building
// the control plane needs no Node.
// Here: paths, caching, and what a browser may do with the pages. Not here: any data. The pages ask for it by the same API as everybody else,
// with the API key of whoever looks at them; these files are the same for all and need no key.
// Read: console.go, file.go.
package console

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed all:dist
var dist embed.FS

// Path is where the console lies.
const Path = "/console/"

// index is the page; everything else is loaded by it, under names that change with their content.
const index = "index.html"

// policy is the Content-Security-Policy of everything here. Only these files are code. Connections go anywhere, for agents come and go at addresses
// that are not known when the page is loaded; that only they answer is up to their keys and their allowed origins.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; connect-src 'self' http: https:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Console has the files, ready to be sent.
type Console struct{ files map[string]*file }

// New prepares the files. An error: the binary was built wrongly.
func New() (Console, error) {
	files, err := load()
	return Console{files}, err
}

// Mount adds the console's routes, and sends whoever asks for nothing in particular there.
func (c Console) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET "+Path, func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, Path)
		if name == "" {
			name = index
		}
		protect(w.Header())
		f, found := c.files[name]
		if !found {
			http.NotFound(w, r)
			return
		}
		f.serve(w, r)
	})
	mux.Handle("GET /{$}", http.RedirectHandler(Path, http.StatusFound))
}

// protect tells the browser what the console needs, and that it needs nothing else.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}

// load prepares every file, by its path below Path.
func load() (map[string]*file, error) {
	files := map[string]*file{}
	err := fs.WalkDir(dist, "dist", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := dist.ReadFile(name)
		if err != nil {
			return err
		}
		short := strings.TrimPrefix(name, "dist/")
		files[short], err = newFile(short, content)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("web console: %w", err)
	}
	if files[index] == nil {
		return nil, fmt.Errorf("web console: %s is not there", path.Join("dist", index))
	}
	return files, nil
}
