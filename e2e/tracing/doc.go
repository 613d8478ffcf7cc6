// Package tracing proves, with real processes and a collector in the test, that one record can be followed from its producer through the agent,
// the bucket and the catalog to its consumer, and that what the processes export is what docs/tracing.md and docs/metrics.md say.
// Read: collector_test.go, tracing_test.go, document_test.go.
package tracing
