// Package compact carries out what the control plane wants compacted: it copies the live segments of many objects, sorted, into few large
// ones, and says so. Batches are copied as they are; every segment is held against its checksum on the way.
// Planning, and judging whether what was copied is still what is in the catalog, is the control plane's.
//
//	footers → what is alive → layout → for each output: announce → copy → complete → commit
//
// Nothing is remembered between runs but what was announced: each run asks what is still alive in the inputs. What an earlier
// output has taken is not, so the layout of the rest begins with the output that was interrupted, byte for byte, if nothing else has changed;
// then its upload is gone on with. Else it is begun anew, and what was uploaded is aborted.
//
// Memory: what is read at a time is bounded by Config.MemoryBytes, beside some 130 bytes a segment.
//
// Promises: P1, P2 (no byte of a record changes, none is left out), P8 in part (nothing is written under a key that was not announced).
//
// Read: compact.go, alive.go, layout.go, output.go, read.go, measure.go.
package compact
