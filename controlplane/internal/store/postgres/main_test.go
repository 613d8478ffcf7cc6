package postgres_test

import (
	"testing"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
