package cost

import "math"

// A month of AWS's, in hours and seconds.
const (
	hours   = 730
	seconds = hours * 3600
	gb      = 1 << 30 // what AWS bills as a GB
)

// Line of a bill: so many units a month at a price.
type Line struct {
	Name     string  `json:"name"`
	Quantity float64 `json:"quantity"`
	Unit     string  `json:"unit"`
	Dollars  float64 `json:"dollars"`
	Price    Price   `json:"price"`
}

// Bill of one system for a month.
type Bill struct {
	Lines   []Line  `json:"lines"`
	Dollars float64 `json:"dollars"`
}

func (b *Bill) add(name string, quantity float64, p Price) {
	dollars := quantity * p.Dollars
	b.Lines = append(b.Lines, Line{Name: name, Quantity: quantity, Unit: p.Unit, Dollars: dollars, Price: p})
	b.Dollars += dollars
}

// Sizes of what does not depend on the load, or hardly.
const (
	controlPlanes     = 3
	controlPlaneCores = 1
	controlPlaneGB    = 2
	databaseGB        = 100
)

// StreamHouse is the bill of a load.
func StreamHouse(l Load, p Prices) Bill {
	var b Bill
	l.addBucket(&b, p)
	l.addAgents(&b, p)
	b.add("control plane, cores", controlPlanes*controlPlaneCores*hours, p.Core)
	b.add("control plane, memory", controlPlanes*controlPlaneGB*hours, p.Memory)
	b.add("PostgreSQL, with its standby", hours, p.Database)
	b.add("PostgreSQL, disk", databaseGB, p.DatabaseGB)
	b.add("keyed records across zones", l.Keyed*l.elsewhere()*l.stored()*seconds/gb, p.CrossZoneGB)
	return b
}

// addBucket is what S3 takes.
func (l Load) addBucket(b *Bill, p Prices) {
	r := l.Requests()
	b.add("PUTs", r.PutsPerSecond*seconds, p.Put)
	b.add("GETs", r.GetsPerSecond*seconds, p.Get)
	b.add("PUTs of compaction", r.CompactionPutsPerSecond*seconds, p.Put)
	b.add("GETs of compaction", r.CompactionGetsPerSecond*seconds, p.Get)
	b.add("stored", l.kept()/gb, p.StoredGB)
}

func (l Load) addAgents(b *Bill, p Prices) {
	agents := float64(l.Zones * l.agentsPerZone())
	b.add("agents, cores", agents*agentCores*hours, p.Core)
	b.add("agents, memory", agents*agentMemoryGB*hours, p.Memory)
}

// kept is how many bytes are stored once retention deletes as much as is written.
func (l Load) kept() float64 { return l.stored() * l.Retention.Seconds() }

// elsewhere is the chance that a leader chosen by key is in another zone than its producer.
func (l Load) elsewhere() float64 { return float64(l.Zones-1) / float64(l.Zones) }

// What a Kafka cluster is taken to need. Deliberately in its favour: readers read from the replica of their own zone, disks are as small as they may
// be, and nobody's work is counted.
const (
	replicas          = 3
	fewestBrokers     = 3
	brokerBytesPerSec = 60e6 // stored, written to a broker, replication included
	fullestDisk       = 0.7  // share of a disk that may be used
)

// Kafka is the bill of a load for brokers that one runs oneself on EC2, with three replicas.
func Kafka(l Load, p Prices) Bill {
	var b Bill
	brokers := math.Max(fewestBrokers, math.Ceil(l.stored()*replicas/brokerBytesPerSec))
	b.add("brokers", brokers*hours, p.Broker)
	b.add("disks", l.kept()*replicas/fullestDisk/gb, p.BrokerDiskGB)
	month := l.stored() * seconds / gb
	b.add("replication across zones", month*math.Min(replicas-1, float64(l.Zones-1)), p.CrossZoneGB)
	b.add("records to leaders in other zones", month*l.elsewhere(), p.CrossZoneGB)
	return b
}

// WarpStream is the bill of a load in one's own account: its fees, and the same machines, requests and bytes in S3 as StreamHouse's. Its discounts for
// large volumes are not in it.
func WarpStream(l Load, p Prices) Bill {
	var b Bill
	b.add("fee for the cluster", hours*4, p.WarpCluster)
	b.add("fee for what is written", l.WriteBytesPerSecond*seconds/gb, p.WarpWrite)
	b.add("fee for what is stored", l.kept()*l.Compression/gb, p.WarpKept)
	l.addBucket(&b, p)
	l.addAgents(&b, p)
	return b
}
