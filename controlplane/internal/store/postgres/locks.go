package postgres

// Advisory locks, all of them. Migrations use goose's own.
const (
	// purgeLock: one replica at a time purges deleted topics (within its transaction).
	purgeLock int64 = 0x5348_0001
	// placementLock: one replica at a time decides placement (on a connection of its own, see lead.go).
	placementLock int64 = 0x5348_0002
	// retentionLock: one replica at a time looks at a page of partitions (within its transaction).
	retentionLock int64 = 0x5348_0003
)
