package execution

// Save is the transition that makes what only memory knows durable, for a run that has to leave the cache: a task that
// was started without a write. Its deadlines move into the store with it, or nobody would notice when they pass. nil:
// there is nothing to save.
func Save(st *State, env *Env) *Transition {
	if !st.Volatile.Unsaved {
		return nil
	}
	d := newDraft(st, env)
	d.durable()
	d.moveTimerRow()
	d.Volatile.Unsaved = false
	d.tr.Next = d.State
	return d.tr
}
