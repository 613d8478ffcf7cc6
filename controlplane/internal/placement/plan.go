package placement

// Plan answers the moves to the best placement of all partitions; see the package comment for what is best.
func Plan(in Input) Result {
	m := newModel(in)
	if len(m.agents) == 0 {
		return Result{Stranded: m.stranded()}
	}
	if m.busy() {
		return Result{Moves: m.sorted(m.plan(m.zoneSeats()).balance())}
	}
	return Result{Moves: m.sorted(m.plan(m.agentSeats()).place())}
}

// plan divides by counts.
func (m *model) plan(s *seats) *flow {
	f := newFlow(m, s)
	f.divide()
	f.keep()
	f.improve()
	return f
}
