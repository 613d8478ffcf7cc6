package zoneloss

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// namespaces is a cluster.Network of network namespaces. Each pair of them has a cable of its own, so that the kernel counts what crosses zones:
// between two zones nothing else flows over it, and what goes to the region, to S3 and PostgreSQL, has others.
//
// Addresses are of 198.18.0.0/15, which is set aside for tests of networks. They exist in these namespaces alone.
type namespaces struct {
	prefix string
	zones  []string // the region, "", is the first
	fds    map[string]int
}

// newNamespaces makes the region and the zones, connected with one another, or skips the test where that is not allowed.
func newNamespaces(t *testing.T, zones ...string) *namespaces {
	t.Helper()
	n := &namespaces{prefix: fmt.Sprintf("shz%d-", os.Getpid()), zones: append([]string{""}, zones...), fds: map[string]int{}}
	if output, err := exec.Command("ip", "netns", "add", n.name("")).CombinedOutput(); err != nil {
		t.Skipf("NOT REHEARSED: network namespaces cannot be made here (%v: %s)", err, output)
	}
	t.Cleanup(func() { n.remove(t) })
	for _, zone := range zones {
		n.ip(t, "netns", "add", n.name(zone))
	}
	for _, zone := range n.zones {
		n.in(t, zone, "address", "add", n.Address(zone)+"/32", "dev", "lo")
		n.in(t, zone, "link", "set", "lo", "up")
		n.open(t, zone)
	}
	n.pairs(func(a, b string) { n.connect(t, a, b) })
	return n
}

func (n *namespaces) name(zone string) string { return n.prefix + label(zone) }

// label is a zone's name, or the region's.
func label(zone string) string {
	if zone == "" {
		return "region"
	}
	return zone
}

// cable is the device in one place that leads to another.
func cable(to string) string { return "to-" + label(to) }

func (n *namespaces) open(t *testing.T, zone string) {
	t.Helper()
	fd, err := unix.Open("/run/netns/"+n.name(zone), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	n.fds[zone] = fd
}

func (n *namespaces) remove(t *testing.T) {
	t.Helper()
	for _, zone := range n.zones {
		if fd, open := n.fds[zone]; open {
			_ = unix.Close(fd)
		}
		_ = exec.Command("ip", "netns", "delete", n.name(zone)).Run()
	}
}

// pairs calls f for each two places.
func (n *namespaces) pairs(f func(a, b string)) {
	for i, a := range n.zones {
		for _, b := range n.zones[i+1:] {
			f(a, b)
		}
	}
}

// connect lays a cable between two places.
func (n *namespaces) connect(t *testing.T, a, b string) {
	t.Helper()
	n.ip(t, "link", "add", cable(b), "netns", n.name(a), "type", "veth", "peer", "name", cable(a), "netns", n.name(b))
	for _, end := range [][2]string{{a, b}, {b, a}} {
		here, there := end[0], end[1]
		n.in(t, here, "link", "set", cable(there), "up")
		n.in(t, here, "route", "add", n.Address(there)+"/32", "dev", cable(there), "src", n.Address(here))
	}
}

// Address of a place.
func (n *namespaces) Address(zone string) string {
	for i, z := range n.zones {
		if z == zone {
			return fmt.Sprintf("198.18.%d.1", i)
		}
	}
	panic("there is no zone " + zone)
}

// Enter leads the calling thread into the namespace of a place.
func (n *namespaces) Enter(zone string) error {
	if err := unix.Setns(n.fds[zone], unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter %s: %w", n.name(zone), err)
	}
	return nil
}

// cut separates a zone from everything else, in silence: both sides send to a neighbour that nobody is, so packets vanish, no connection is refused,
// and no route is missing. Within the zone all goes on.
func (n *namespaces) cut(t *testing.T, zone string) {
	t.Helper()
	n.neighbours(zone, func(here, there string) {
		n.in(t, here, "neighbour", "replace", n.Address(there), "lladdr", "02:00:00:00:00:01", "dev", cable(there), "nud", "permanent")
	})
}

// restore undoes cut.
func (n *namespaces) restore(t *testing.T, zone string) {
	t.Helper()
	n.neighbours(zone, func(here, there string) {
		n.in(t, here, "neighbour", "delete", n.Address(there), "dev", cable(there))
	})
}

// neighbours calls f for both ends of each cable of a zone.
func (n *namespaces) neighbours(zone string, f func(here, there string)) {
	n.pairs(func(a, b string) {
		if a == zone || b == zone {
			f(a, b)
			f(b, a)
		}
	})
}

// crossed is the number of bytes on the cables between zones so far, in both directions, as the kernel counts them, headers included.
func (n *namespaces) crossed(t *testing.T) int64 {
	t.Helper()
	total := int64(0)
	n.pairs(func(a, b string) {
		if a == "" || b == "" {
			return
		}
		var links []struct {
			Stats struct {
				Received struct {
					Bytes int64 `json:"bytes"`
				} `json:"rx"`
				Sent struct {
					Bytes int64 `json:"bytes"`
				} `json:"tx"`
			} `json:"stats64"`
		}
		if err := json.Unmarshal([]byte(n.in(t, a, "-statistics", "-json", "link", "show", cable(b))), &links); err != nil || len(links) != 1 {
			t.Fatalf("statistics of the cable from %s to %s: %v, %+v", a, b, err, links)
		}
		total += links[0].Stats.Received.Bytes + links[0].Stats.Sent.Bytes
	})
	return total
}

// in runs ip in a place.
func (n *namespaces) in(t *testing.T, zone string, args ...string) string {
	t.Helper()
	return n.ip(t, append([]string{"-netns", n.name(zone)}, args...)...)
}

func (n *namespaces) ip(t *testing.T, args ...string) string {
	t.Helper()
	output, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, output)
	}
	return string(output)
}
