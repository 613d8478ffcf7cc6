module github.com/streamhouse/streamhouse/client

go 1.26.0

require (
	github.com/pierrec/lz4/v4 v4.1.33
	github.com/streamhouse/streamhouse/gen v0.0.0
	pgregory.net/rapid v1.3.0
)

replace github.com/streamhouse/streamhouse/gen => ../gen
