package cost

// Price of one unit, with where it was read and when. All are list prices of us-east-1, in US dollars, without discounts and free tiers.
type Price struct {
	Name    string  `json:"name"`
	Dollars float64 `json:"dollars"`
	Unit    string  `json:"unit"`
	Source  string  `json:"source"`
	// Read is the day of the source, as far as it says one.
	Read string `json:"read"`
}

// Prices by what they are for.
type Prices struct {
	Put, Get, StoredGB               Price
	Core, Memory                     Price
	Database, DatabaseGB             Price
	CrossZoneGB                      Price
	Broker, BrokerDiskGB             Price
	WarpCluster, WarpWrite, WarpKept Price
}

const (
	s3Source      = "https://aws.amazon.com/s3/pricing/"
	fargateSource = "https://www.vantage.sh/blog/fargate-pricing"
	rdsSource     = "https://infratally.com/articles/aws-rds-pricing-explained-2026.html"
	ec2Source     = "https://www.factualminds.com/blog/amazon-ec2-on-demand-pricing-instance-families-2026/"
	warpSource    = "https://www.warpstream.com/pricing, as transcribed (unverified) in github.com/api-evangelist/warpstream finops/warpstream-finops.yml"
)

// List are the prices as of the dates in them.
func List() Prices {
	return Prices{
		Put:         Price{"S3 Standard, PUT", 0.005 / 1000, "request", s3Source, "2025"},
		Get:         Price{"S3 Standard, GET", 0.0004 / 1000, "request", s3Source, "2025"},
		StoredGB:    Price{"S3 Standard, first 50 TB", 0.023, "GB-month", s3Source, "2025"},
		Core:        Price{"Fargate, x86", 0.04048, "vCPU-hour", fargateSource, "2026-03"},
		Memory:      Price{"Fargate, x86", 0.004445, "GB-hour", fargateSource, "2026-03"},
		Database:    Price{"RDS PostgreSQL, db.t4g.medium, Multi-AZ", 0.130, "hour", rdsSource, "2026"},
		DatabaseGB:  Price{"RDS gp3, Multi-AZ", 0.23, "GB-month", "https://www.usage.ai/blogs/aws/reserved-instances/rds/pricing-calculator/", "2026-06"},
		CrossZoneGB: Price{"from zone to zone, both directions' charge", 0.02, "GB", "https://finopsforge.com/reduce-aws-data-transfer-costs", "2026"},
		Broker:      Price{"EC2 m7g.xlarge, twice an m7g.large", 0.1632, "hour", ec2Source, "2026-06-17"},
		BrokerDiskGB: Price{
			"EBS gp3", 0.08, "GB-month", "https://aws.amazon.com/ebs/pricing/", "2025",
		},
		WarpCluster: Price{"WarpStream, cluster of tier Fundamentals", 0.1725, "15 minutes", warpSource, "2026-10-07"},
		WarpWrite:   Price{"WarpStream, written, first 50 TiB a month", 0.01, "uncompressed GiB", warpSource, "2026-10-07"},
		WarpKept:    Price{"WarpStream, stored, first 50 TiB", 0.01, "uncompressed GiB-month", warpSource, "2026-10-07"},
	}
}
