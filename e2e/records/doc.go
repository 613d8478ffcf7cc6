// Package records holds whole-system tests of what users put in and get out: every byte of a record, whichever door it came in by and left by;
// where reading begins; topics made anew; conditional appends; buffered acks; a reader that follows. All of it on one cluster of real processes.
// Faults belong to package faults, bad input to package badinput. Nothing here but tests.
// Promises: P1, P2, P3. Read: records_test.go, then a file for each subject.
package records
