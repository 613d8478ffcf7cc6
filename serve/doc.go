// Package serve is the module that both services stand on: what a listener of StreamHouse needs, whichever service is behind it.
// It knows the API (gen) and nothing of leases, records, PostgreSQL or the bucket.
//
// Packages, in reading order: secret (values that never show), refusal (errors on the wire), access (who may call what), config (flags,
// environment, file), logs (slog, level at run time), telemetry
// (metrics), listen (the HTTP server that puts them together).
package serve
