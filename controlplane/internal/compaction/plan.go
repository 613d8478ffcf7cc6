package compaction

import (
	"time"
)

const (
	// Levels is how often a byte is rewritten at most.
	Levels = 2
	// Settled is the level of objects that are left as they are although they are of no final level.
	Settled = 100
	// Page bounds the candidates of a level that a plan looks at.
	Page = 2000
	// MaxInputs bounds the objects of one job: what an agent reads at a time is divided among them.
	MaxInputs = 256
	// maxSegments bounds the segments of one job: an agent keeps some 130 bytes of each.
	maxSegments = 300_000
	// minDepth is from how many objects of one partition on it is worth rewriting them once more.
	minDepth = 8
	// longSegment is the mean length of segments in bytes from which on an object is left as it is.
	longSegment = 1 << 20
	// smallBytes is how large an object is that an agent reads whole (maxSpan in its package compact).
	smallBytes = 4 << 20
	// joinedBytes is how long agents make segments (maxJoinedBytes there).
	joinedBytes = 2 << 20
	// minCrowd is how many objects of one kind are worth more than MaxInputs of many kinds, where there is no time to wait.
	minCrowd = MaxInputs / 4
)

// Candidate is an object that may be compacted: it is referenced, old enough, of a level below Levels, and in no job.
type Candidate struct {
	ObjectID   int64
	Key        string
	SizeBytes  int64 // 0: not known
	References int32
	// Age since its commit, by PostgreSQL's clock.
	Age time.Duration
	// First and Last are the first and the last partition in it, in the order of an object; both empty: unknown, any.
	First, Last Place
}

// Config says when it is worth it.
type Config struct {
	// TargetBytes is the size of an object that compaction writes.
	TargetBytes int64
	// Patience is how long objects wait for others before fewer of them are compacted.
	Patience time.Duration
}

// jobBytes bounds what one job reads. Above level 0 an object holds few partitions, all of which are to be joined with many.
func (c Config) jobBytes(level int) int64 {
	if level == 0 {
		return 8 * c.TargetBytes
	}
	return 64 * c.TargetBytes
}

// wholeBytes is how much of small objects an agent keeps in memory, with what it has for this by default: it reads each of them once.
func (c Config) wholeBytes() int64 { return c.TargetBytes * 3 / 16 }

// longPatience is how long objects above level 0 wait.
func (c Config) longPatience() time.Duration { return 24 * c.Patience }

// Plan is what to do about the candidates of one level. Both lists may be empty.
type Plan struct {
	// Inputs are to be rewritten by one job, oldest first: none or at least two.
	Inputs []Candidate
	// Leave are to be left as they are, for good.
	Leave []Candidate
}

// Choose plans for one level. Requires: candidates are in order of ObjectID, the oldest of the level, at most Page.
func Choose(level int, candidates []Candidate, config Config) (plan Plan) {
	var small []Candidate
	for _, c := range candidates {
		if c.SizeBytes/int64(max(1, c.References)) >= longSegment {
			plan.Leave = append(plan.Leave, c)
			continue
		}
		small = append(small, c)
	}
	crowded := len(candidates) >= Page // others wait behind these
	if plan.Inputs = alike(level, small, config, crowded); plan.Inputs != nil {
		return plan
	}
	set := bounded(deepest(small), MaxInputs, config.jobBytes(level))
	if due(level, set, config, crowded) {
		plan.Inputs = set
		return plan
	}
	if level > 0 {
		plan.Leave = append(plan.Leave, hopeless(small, config, crowded)...)
	}
	return plan
}

// bounded is the beginning of a set that one job may have: two at least.
func bounded(set []Candidate, inputs int, bytes int64) []Candidate {
	size, segments := int64(0), int64(0)
	for i, c := range set {
		size, segments = size+c.SizeBytes, segments+int64(c.References)
		if i == inputs || (i >= minDepth && size > bytes) || (i >= 2 && segments > maxSegments) {
			return set[:i]
		}
	}
	return set
}

// due tells whether objects of several kinds are worth a job: they have waited for long, others wait behind them, or, above level 0, there are enough of each.
func due(level int, set []Candidate, config Config, crowded bool) bool {
	if len(set) < 2 {
		return false
	}
	if level == 0 {
		return crowded || set[0].Age >= config.Patience
	}
	s := total(set)
	deep := s.objects >= minDepth && s.bytes >= config.TargetBytes && s.long(len(kinds(level, set)))
	return crowded || deep || s.full() || s.bytes >= config.jobBytes(level)*3/4 || set[0].Age >= config.longPatience()
}

// hopeless are those that have waited for others of their partitions for long enough, or in whose way others stand.
func hopeless(small []Candidate, config Config, crowded bool) (leave []Candidate) {
	for i, c := range small {
		if c.Age >= config.longPatience() || (crowded && i < Page/2) {
			leave = append(leave, c)
		}
	}
	return leave
}
