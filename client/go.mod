module github.com/streamhouse/streamhouse/client

go 1.26.0

require (
	connectrpc.com/connect/v2 v2.0.2
	github.com/pierrec/lz4/v4 v4.1.33
	github.com/streamhouse/streamhouse/gen v0.0.0
	go.opentelemetry.io/otel v1.47.0
	go.opentelemetry.io/otel/trace v1.47.0
	go.uber.org/goleak v1.3.0
	google.golang.org/protobuf v1.36.12
	pgregory.net/rapid v1.3.0
)

require (
	buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go v1.36.12-20260825204119-511051f7f437.2 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
)

replace github.com/streamhouse/streamhouse/gen => ../gen
