module github.com/streamhouse/streamhouse/e2e

go 1.26

require (
	github.com/streamhouse/streamhouse/gen v0.0.0
	github.com/streamhouse/streamhouse/client v0.0.0
	github.com/streamhouse/streamhouse/serve v0.0.0
	github.com/streamhouse/streamhouse/controlplane v0.0.0
	github.com/streamhouse/streamhouse/sql v0.0.0
	github.com/streamhouse/streamhouse/dataplane v0.0.0
)

replace (
	github.com/streamhouse/streamhouse/gen => ../gen
	github.com/streamhouse/streamhouse/client => ../client
	github.com/streamhouse/streamhouse/serve => ../serve
	github.com/streamhouse/streamhouse/controlplane => ../controlplane
	github.com/streamhouse/streamhouse/sql => ../sql
	github.com/streamhouse/streamhouse/dataplane => ../dataplane
)
