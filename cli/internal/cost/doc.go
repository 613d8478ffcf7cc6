// Package cost computes what a cluster in AWS costs a month, line by line, and what the same load costs on Kafka and on WarpStream. It knows the
// budget of PUTs and how objects are read, and prices with their sources and dates; it asks nobody, and rounds nothing.
// Requests are the part that is StreamHouse's own doing: a test compares them with what agents of a running cluster count.
// Read: load.go, compaction.go, price.go, bill.go.
package cost
