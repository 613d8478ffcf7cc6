// Package gen holds what buf generates from proto/: protobuf messages and Connect services, nothing written by hand.
// Regenerate with "make generate"; a change made here is lost.
package gen
