package listen

import (
	"net"
	"testing"
)

func TestRemoteURL(t *testing.T) {
	t.Parallel()
	addresses := func(texts ...string) (all []net.Addr) {
		for _, text := range texts {
			ip, network, err := net.ParseCIDR(text)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, &net.IPNet{IP: ip, Mask: network.Mask})
		}
		return all
	}
	task := addresses("127.0.0.1/8", "169.254.172.2/22", "::1/128", "fe80::1/64", "2a05::7/64", "10.80.3.9/20")
	for _, c := range []struct {
		address string
		own     []net.Addr
		want    string
	}{
		{"0.0.0.0:8080", task, "http://10.80.3.9:8080"},
		{"[::]:8080", task, "http://10.80.3.9:8080"},
		{"[::]:8080", addresses("::1/128", "2a05::7/64"), "http://[2a05::7]:8080"},
		{"0.0.0.0:8080", addresses("127.0.0.1/8", "169.254.172.2/22"), "http://127.0.0.1:8080"},
		{"10.0.0.1:8080", task, "http://10.0.0.1:8080"},
		{"127.0.0.1:8080", task, "http://127.0.0.1:8080"},
	} {
		if got := remoteURL(c.address, false, c.own); got != c.want {
			t.Errorf("%s: got %s, want %s", c.address, got, c.want)
		}
	}
}
