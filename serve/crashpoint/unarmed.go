//go:build !crashpoints

package crashpoint

// Armed tells whether this build has crash points.
const Armed = false

// Here does nothing in this build.
func (Point) Here() {}
