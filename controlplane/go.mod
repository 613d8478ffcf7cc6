module github.com/streamhouse/streamhouse/controlplane

go 1.26.0

require (
	github.com/streamhouse/streamhouse/gen v0.0.0
	github.com/streamhouse/streamhouse/serve v0.0.0
	github.com/streamhouse/streamhouse/sql v0.0.0
)

require (
	connectrpc.com/connect/v2 v2.0.2
	github.com/google/uuid v1.6.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/pgx/v5 v5.12.0 // indirect
	github.com/mfridman/interpolate v0.0.2 // indirect
	github.com/pressly/goose/v3 v3.29.0 // indirect
	github.com/sethvargo/go-retry v0.5.0 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	golang.org/x/sync v0.25.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
	pgregory.net/rapid v1.3.0 // indirect
)

replace (
	github.com/streamhouse/streamhouse/gen => ../gen
	github.com/streamhouse/streamhouse/serve => ../serve
	github.com/streamhouse/streamhouse/sql => ../sql
)
