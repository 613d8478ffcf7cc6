package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
)

// storage is the data folder, locked for this process.
type storage struct {
	lock    *os.File
	objects string
	meta    meta.MetadataStorer
}

// openStorage creates what is missing of the folder and locks it. The lock dies with the process, however it dies.
func openStorage(cfg Config) (*storage, error) {
	dir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("find data dir: %w", err)
	}
	objects := filepath.Join(dir, "objects")
	if err := os.MkdirAll(objects, 0o750); err != nil {
		return nil, fmt.Errorf("create data dir: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	m, err := openMetadata(cfg.Metadata, objects, filepath.Join(dir, "metadata"))
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &storage{lock: lock, objects: objects, meta: m}, nil
}

func (s *storage) close() { _ = s.lock.Close() }

// backend is new for every try to listen: the gateway shuts it down when it returns.
func (s *storage) backend(md5 bool) (backend.Backend, error) {
	b, err := posix.New(s.objects, s.meta, posix.PosixOpts{
		Concurrency:       maxFileCalls,
		DataIntegrityEtag: !md5,
	})
	if err != nil {
		return nil, fmt.Errorf("open storage: %w", err)
	}
	return b, nil
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data dir: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = fmt.Errorf("data dir %s is in use by another process: stop it or choose another folder: %w", dir, err)
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func openMetadata(kind Metadata, objects, sideCar string) (meta.MetadataStorer, error) {
	if kind == "" || kind == MetadataAuto {
		kind = detectMetadata(objects, sideCar)
	}
	if kind == MetadataXattr {
		if err := (meta.XattrMeta{}).Test(objects); err != nil {
			return nil, fmt.Errorf("keep metadata in extended attributes: %w", err)
		}
		return meta.XattrMeta{}, nil
	}
	if err := os.MkdirAll(sideCar, 0o750); err != nil {
		return nil, fmt.Errorf("create metadata dir: %w", err)
	}
	m, err := meta.NewSideCar(sideCar)
	if err != nil {
		return nil, fmt.Errorf("open metadata dir: %w", err)
	}
	return m, nil
}

// detectMetadata stays with what the folder began with: objects written one way look bare the other way.
func detectMetadata(objects, sideCar string) Metadata {
	if _, err := os.Stat(sideCar); err == nil {
		return MetadataSideCar
	}
	if err := (meta.XattrMeta{}).Test(objects); err != nil {
		return MetadataSideCar
	}
	return MetadataXattr
}
