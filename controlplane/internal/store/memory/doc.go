// Package memory is the catalog as the protocol tells it, in plain maps behind one mutex: a reference to read, and to hold the real
// one against. Its rules are written down here a second time, straight from the text and in its order, and share no decision with
// package postgres: a mistake made once shows as a difference (packages scenario and conformance look for it).
//
// Time is package time, so that testing/synctest can turn it; Age and AgePulse stand for what tests do to rows of PostgreSQL.
//
// Not here: durability, paging for speed, races (one call at a time), SQL, other packages' rules.
// Promises, as a reference: P1 to P5, P7.
// Read: store.go, session.go, judge.go, lease.go, commit.go, producer.go; then lookup.go, placement.go, topic.go, cluster.go, key.go, job.go.
package memory
