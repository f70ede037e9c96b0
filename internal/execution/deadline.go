package execution

import (
	"github.com/tidwall/btree"

	"github.com/perdure/perdure/internal/clock"
)

// deadlineKind tells what falls due.
type deadlineKind uint8

const (
	dueExecution deadlineKind = iota + 1 // the chain's execution timeout
	dueRun                               // the run timeout
	dueFirstTask                         // first backoff over
	dueTask                              // workflow task: schedule-to-start or start-to-close
	dueActivity                          // an activity's earliest timeout; number: scheduled event ID
	dueTimer                             // user timer; text: timer ID
	dueRetention                         // a closed run is to be removed
)

// deadline is one moment at which something falls due.
type deadline struct {
	at     clock.Nanos
	kind   deadlineKind
	number int64
	text   string
}

func (d deadline) less(o deadline) bool {
	switch {
	case d.at != o.at:
		return d.at < o.at
	case d.kind != o.kind:
		return d.kind < o.kind
	case d.number != o.number:
		return d.number < o.number
	}
	return d.text < o.text
}

// deadlineSet orders deadlines by time. Copies share structure.
type deadlineSet struct{ t *btree.BTreeG[deadline] }

var _ = deadline.less

func (s *State) derive() {}
