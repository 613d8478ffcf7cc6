package dev_test

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/streamhouse/streamhouse/e2e/process"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Two devs at once, one of them a normal user's if the test runs as root: neither sees anything of the other.
func TestTwoSideBySide(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	mine, theirs := newDev(t, "--zones", "az-a"), newDev(t, "--zones", "az-a")
	theirs.asNormalUser(t)
	var starting sync.WaitGroup
	for _, d := range []*dev{mine, theirs} {
		starting.Go(func() { d.Must(ctx, t, append(d.args, "--detach")...) })
	}
	starting.Wait()
	for name, d := range map[string]*dev{"mine": mine, "theirs": theirs} {
		d.Must(ctx, t, "topic", "create", name)
		d.produce(ctx, t, name, 0, 100)
	}
	for name, d := range map[string]*dev{"mine": mine, "theirs": theirs} {
		d.expectLines(ctx, t, name, 100)
		var topics []struct {
			Name string `json:"name"`
		}
		d.JSON(ctx, t, &topics, "topic", "list")
		if len(topics) != 1 || topics[0].Name != name {
			t.Errorf("%s sees %v", name, topics)
		}
	}
	theirs.checkOwner(t)
	mine.down(ctx, t)
	theirs.expectLines(ctx, t, "theirs", 100)
	theirs.down(ctx, t)
}

// asNormalUser makes the dev nobody's: binaries that everybody may run, a home and a data dir of its own.
func (d *dev) asNormalUser(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip("there is no user nobody to be")
	}
	uid, err1 := strconv.ParseUint(nobody.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(nobody.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	home := filepath.Dir(d.dir)
	if err := os.Chown(home, int(uid), int(gid)); err != nil {
		t.Fatal(err)
	}
	d.User = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	d.Env = append(d.Env, "HOME="+home)
	d.Dir, d.Bin = home, copied(t, d.Bin)
}

// copied puts the binaries where everybody may run them.
func copied(t *testing.T, bin string) string {
	t.Helper()
	to := process.Folder(t)
	for _, name := range []string{"streamhouse", "streamhouse-agent", "streamhouse-controlplane", "streamhouse-devs3"} {
		content, err := os.ReadFile(filepath.Join(bin, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), content, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// checkOwner expects every process to be the user's.
func (d *dev) checkOwner(t *testing.T) {
	t.Helper()
	if d.User == nil {
		return
	}
	pids := d.processes(t)
	if len(pids) < 5 {
		t.Errorf("only %d processes name the data dir", len(pids))
	}
	for _, pid := range pids {
		status, _ := os.ReadFile(filepath.Join("/proc", itoa(pid), "status"))
		if uid := itoa(int(d.User.Uid)); !strings.Contains(string(status), "Uid:\t"+uid+"\t"+uid) {
			t.Errorf("process %d is not the user's:\n%s", pid, status)
		}
	}
}
