// Package dashboard makes Grafana's JSON of the short description in terraform/modules/observability/dashboards.yaml. A panel is three lines there and forty in
// JSON, of which all but three are the same in every panel; so people read and change the description, and what is made of it lies beside it for
// those who have nothing but Grafana.
//
// Not here: whether queries are right. The tests of package observability hold them against a running cluster.
// Read: source.go, grafana.go.
package dashboard
