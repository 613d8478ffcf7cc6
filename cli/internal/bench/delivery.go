package bench

import "github.com/streamhouse/streamhouse/cli/internal/histogram"

// Delivery is how long records take to a consumer.
type Delivery struct {
	// Agent that the consumer asked; it leads none of the partitions.
	Agent string `json:"agent"`
	histogram.Distribution
}
