package workflowtest

import "testing"

// Find is Explore for tests of it: the script that fails, and why; empty and nil when none does.
func Find(t *testing.T, s Scenario) (script string, err error) {
	s.defaults()
	if p := (&explorer{t: t, s: &s}).search(); p != nil {
		return p.script(), p.err
	}
	return "", nil
}

// Play is Replay for tests of it.
func Play(t *testing.T, s Scenario, script []string) error {
	s.defaults()
	return (&explorer{t: t, s: &s}).play(script, nil).err
}
