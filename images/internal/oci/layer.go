package oci

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

// File is one regular file of a layer. It belongs to root, so that the process, which is not root, cannot change it.
type File struct {
	// Path is absolute.
	Path string
	Mode int64
	Data []byte
}

// layerSums are the digests of a layer: as it is stored, and of the archive inside.
type layerSums struct{ stored, archive string }

// writeLayer writes the files, and the folders that they need, as a compressed archive. The same files give the same bytes: entries are sorted,
// all have the same time, and nothing of the machine is in them.
func writeLayer(w io.Writer, files []File, at time.Time) (layerSums, error) {
	stored, archive := sha256.New(), sha256.New()
	zip, err := gzip.NewWriterLevel(io.MultiWriter(w, stored), gzip.DefaultCompression)
	if err != nil {
		return layerSums{}, err
	}
	writer := tar.NewWriter(io.MultiWriter(zip, archive))
	for _, header := range entries(files, at) {
		if err := writer.WriteHeader(header.Header); err != nil {
			return layerSums{}, fmt.Errorf("%s: %w", header.Name, err)
		}
		if _, err := writer.Write(header.data); err != nil {
			return layerSums{}, fmt.Errorf("%s: %w", header.Name, err)
		}
	}
	if err := errors.Join(writer.Close(), zip.Close()); err != nil {
		return layerSums{}, err
	}
	return layerSums{stored: digest(stored), archive: digest(archive)}, nil
}

type entry struct {
	*tar.Header
	data []byte
}

// entries are the files and every folder above them, each folder before what is in it.
func entries(files []File, at time.Time) []entry {
	at = at.UTC().Truncate(time.Second)
	var all []entry
	folders := map[string]bool{"/": true}
	for _, file := range files {
		for dir := path.Dir(file.Path); !folders[dir]; dir = path.Dir(dir) {
			folders[dir] = true
			all = append(all, entry{Header: &tar.Header{Typeflag: tar.TypeDir, Name: inArchive(dir) + "/", Mode: 0o755, ModTime: at, Format: tar.FormatUSTAR}})
		}
		all = append(all, entry{data: file.Data, Header: &tar.Header{
			Typeflag: tar.TypeReg, Name: inArchive(file.Path), Mode: file.Mode, Size: int64(len(file.Data)), ModTime: at, Format: tar.FormatUSTAR,
		}})
	}
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func inArchive(p string) string { return strings.TrimPrefix(path.Clean(p), "/") }
