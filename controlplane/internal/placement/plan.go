package placement

// Plan answers the moves to the best placement of all partitions; see the package comment for what is best.
func Plan(in Input) Result {
	m := newModel(in)
	if len(m.agents) == 0 {
		return Result{Stranded: m.stranded()}
	}
	f := newFlow(m, m.agentSeats())
	f.divide()
	f.keep()
	f.improve()
	return Result{Moves: m.sorted(f.place())}
}
