package execution

// stepReset is not built yet; the frontend answers Unimplemented before an input gets here.
func stepReset(st *State, in ResetWorkflow, env *Env) *Transition {
	return refuse(st, errf(Internal, "reset is not supported"))
}
