//go:build !linux

package build_test

import "testing"

// runAlone needs the system that the images are for.
func runAlone(t *testing.T, _, program string) {
	t.Helper()
	t.Logf("%s is not run: this is not Linux", program)
}
