module github.com/streamhouse/streamhouse/client

go 1.26

require (
	github.com/streamhouse/streamhouse/gen v0.0.0
)

replace (
	github.com/streamhouse/streamhouse/gen => ../gen
)
