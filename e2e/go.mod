module github.com/streamhouse/streamhouse/e2e

go 1.26.0

require (
	github.com/streamhouse/streamhouse/client v0.0.0
	github.com/streamhouse/streamhouse/controlplane v0.0.0
	github.com/streamhouse/streamhouse/dataplane v0.0.0
	github.com/streamhouse/streamhouse/gen v0.0.0
	github.com/streamhouse/streamhouse/serve v0.0.0
	github.com/streamhouse/streamhouse/sql v0.0.0
	github.com/twmb/franz-go v1.22.3
	github.com/twmb/franz-go/pkg/kmsg v1.15.1
	google.golang.org/protobuf v1.36.12
)

require (
	buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go v1.36.12-20260825204119-511051f7f437.2 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
)

replace (
	github.com/streamhouse/streamhouse/client => ../client
	github.com/streamhouse/streamhouse/controlplane => ../controlplane
	github.com/streamhouse/streamhouse/dataplane => ../dataplane
	github.com/streamhouse/streamhouse/gen => ../gen
	github.com/streamhouse/streamhouse/serve => ../serve
	github.com/streamhouse/streamhouse/sql => ../sql
)
