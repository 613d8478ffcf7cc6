module github.com/streamhouse/streamhouse/controlplane

go 1.26

require (
	github.com/streamhouse/streamhouse/gen v0.0.0
	github.com/streamhouse/streamhouse/sql v0.0.0
	github.com/streamhouse/streamhouse/serve v0.0.0
)

replace (
	github.com/streamhouse/streamhouse/gen => ../gen
	github.com/streamhouse/streamhouse/sql => ../sql
	github.com/streamhouse/streamhouse/serve => ../serve
)
