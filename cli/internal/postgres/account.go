package postgres

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/streamhouse/streamhouse/cli/internal/child"
)

// accounts that may run the server in root's place, the first that exists.
var accounts = []string{"postgres", "nobody"}

// chooseAccount returns whom to run as; nil: this process's account. As root it is the owner of the files, if there are any.
func chooseAccount(dir string) (*child.User, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // documented
	}
	info, err := os.Stat(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look at the database: %w", err)
	}
	if err == nil {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 {
			return &child.User{Name: "user " + strconv.Itoa(int(owner.Uid)), UID: owner.Uid, GID: owner.Gid}, nil
		}
	}
	return unprivileged()
}

func unprivileged() (*child.User, error) {
	for _, name := range accounts {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(found.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(found.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			return &child.User{Name: name, UID: uint32(uid), GID: uint32(gid)}, nil
		}
	}
	return nil, errors.New("PostgreSQL refuses root, and there is no user postgres or nobody to run it as: run this as a normal user")
}

// Reachable says whether the account that will run the server may enter the folder, or, where it is still to be made, the one above it.
func Reachable(dir string) bool {
	if os.Geteuid() != 0 {
		return true
	}
	account, err := unprivileged()
	return err == nil && entersAll(*account, filepath.Dir(dir))
}

// entersAll says whether the account may pass through every folder from the root to dir, by their modes.
func entersAll(account child.User, dir string) bool {
	for {
		if !enters(account, dir) {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

func enters(account child.User, dir string) bool {
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	bit := fs.FileMode(0o001)
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		switch {
		case owner.Uid == account.UID:
			bit = 0o100
		case owner.Gid == account.GID:
			bit = 0o010
		}
	}
	return info.Mode().Perm()&bit != 0
}
