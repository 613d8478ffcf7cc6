// Package observability_test holds the dashboards and alerts in terraform/modules/observability against what they speak of: Prometheus' own parser and
// engine, the metrics of a running cluster, and docs/runbooks.md. A query that does not parse, a metric or label that no process has, an alert that
// cannot fire or never stops, an alert that nobody has explained: each is red here, long before somebody needs it.
//
// Prometheus is a dependency of this module's tests alone: of its packages the parser, the engine and the format of rules, in the last version that asks
// for no newer Go than ours. It is in no binary.
// Read: queries_test.go, live_test.go, fire_test.go, runbook_test.go, grafana_test.go.
package observability_test
