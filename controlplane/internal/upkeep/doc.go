// Package upkeep watches how far the work on the bucket is behind: the age of the newest checkpoint, objects that wait to be deleted, parts of the
// bucket that wait to be swept, jobs that are held; and how large the catalog is. One replica at a time does, the one that decides placement. What it
// sees are gauges, and a line in the log when work is behind for long, which wants a person: agents may be started with --no-jobs, or the bucket may
// refuse them.
//
// Not here: the work (package job of the agents), what is due (the store's transactions).
// Promises: none; it makes a broken P8 or P9 seen before it hurts.
// Read: upkeep.go, complaint.go, metrics.go.
package upkeep
