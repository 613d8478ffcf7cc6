// Package sql carries the catalog's schema: migrations (goose, forward only) as one embedded folder. The queries beside them are turned
// into Go by sqlc, into a package internal to the control plane, so that nothing else can reach the database.
//
// Not here: any other code. A released migration never changes.
// Read: migrations/ in order, queries/ by capability.
package sql

import "embed"

// Migrations holds migrations/*.sql.
//
//go:embed migrations/*.sql
var Migrations embed.FS
