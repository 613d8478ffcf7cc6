// Package inventory tells operators what lies in the bucket: objects and their footers, checkpoints and topic descriptions, and whether the bytes
// of segments are what they were. It is how a recovery and fsck see the bucket, whether the catalog serves or not.
// Nothing here changes anything, decides what a log is (the control plane does), or leaves the agent group's own prefix (P7).
//
// Memory is bounded: a few footers and a few pieces of segments at a time, for each of at most streams calls.
// Read: service.go, list.go, check.go, topics.go.
package inventory
