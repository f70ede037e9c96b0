package engine

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// workflow is what a shard knows of a workflow ID: which run is the current one. It lives while one of its runs is
// cached or somebody waits for the pointer.
type workflow struct {
	key     ids.WorkflowKey
	current ids.RunID // empty: there is none
	known   bool
	loading bool
	queue   []*call  // wait for the pointer
	waiting []func() // the same, for the engine itself
	entries int      // cached runs

	removals int                         // of its runs, under way
	reads    []uint64                    // of removals, under way: the newest durable batch when each began
	written  map[execution.Seen]retaking // what runs took that were succeeded while there are removals
}

// retaking is a row by which later runs recall a message, in the batch that writes it.
type retaking struct {
	run ids.RunID
	seq uint64
}

func (w *workflow) idle() bool {
	return w.entries == 0 && !w.loading && len(w.queue) == 0 && len(w.waiting) == 0
}

// entry is one cached run.
type entry struct {
	key   ids.RunKey
	wf    *workflow
	state *execution.State // the newest; nil: not loaded, or there is no such run
	known bool             // state is right
	gone  bool             // being removed: state stays for the removal, inputs find no run
	busy  bool             // something is being read for the first call of queue
	queue []*call          // in order; the first one is being worked on

	// recent holds the newest events without gaps up to state's NextEventID; those from unsaved on are not staged.
	recent      []chunk
	recentBytes int
	unsaved     int

	// What transitions that were not durable left to be written with the next one that is.
	rows   []execution.Row
	tasks  []taskOp
	notes  []execution.Note
	index  bool
	lazy   bool // there was one since the last staging
	warned bool // that messages to the run are refused

	staged uint64 // newest batch with something of this run
	born   uint64 // batch in which it came to be; zero: before it was loaded
	draft  *draft // this run's part of the open batch

	read         bool // closed when it was loaded: somebody looks at it
	attributes   int  // encoded size of memo and search attributes
	size         int  // estimate of what the entry costs
	in           *lru
	newer, older *entry
}

// chunk is events [first, next) as they are stored. bytes are never changed.
type chunk struct {
	first, next ids.EventID
	bytes       []byte
}

type taskOp struct {
	task   execution.Task
	remove bool
}

// visible is the state as inputs see it.
func (e *entry) visible() *execution.State {
	if e.gone {
		return nil
	}
	return e.state
}

// unwritten tells whether forgetting the entry would lose more than a transition declared losable.
func (e *entry) unwritten() bool {
	return e.lazy && (e.state.Volatile.Unsaved || e.unsaved < len(e.recent) || len(e.rows) > 0 || len(e.tasks) > 0 || len(e.notes) > 0 || e.index)
}

// evictable tells whether the entry can be forgotten, given that all batches up to durable are.
func (e *entry) evictable(durable uint64) bool {
	if !e.known || e.busy || e.gone || len(e.queue) > 0 || e.draft != nil || e.staged > durable {
		return false
	}
	if e.state == nil {
		return true
	}
	v := &e.state.Volatile
	return v.Empty() && v.SpecTimeoutAt == 0 && !e.unwritten()
}

const (
	entryBytes   = 2 << 10 // header, start record and bookkeeping
	pendingBytes = 512     // one pending thing
	requestBytes = 192     // one request ID
	chunkBytes   = 80      // a chunk beside its bytes
	noteBytes    = 256     // a note that is not staged
)

// measure estimates the entry's memory anew.
func (e *entry) measure() int {
	n := entryBytes + len(e.key.Workflow) + e.attributes + e.recentBytes + chunkBytes*len(e.recent) + noteBytes*len(e.notes)
	st := e.state
	if st == nil {
		return n
	}
	pending := st.Activities.Len() + st.Timers.Len() + st.Children.Len() + st.Cancels.Len() + st.Signals.Len() +
		st.Updates.Len() + st.Volatile.Updates.Len() + st.Volatile.Queries.Len()
	return n + pending*pendingBytes + st.Requests.Len()*requestBytes + int(st.Info.BufferedBytes)*2 + len(st.Info.ResetPoints)
}

func (e *entry) measureAttributes() {
	e.attributes = 0
	if e.state.Memo != nil {
		e.attributes += proto.Size(e.state.Memo)
	}
	if e.state.SearchAttributes != nil {
		e.attributes += proto.Size(e.state.SearchAttributes)
	}
}

// remember adds a chunk to recent.
func (e *entry) remember(c chunk) {
	e.recent = append(e.recent, c)
	e.recentBytes += len(c.bytes)
}

// trim forgets the events that a worker has seen, and, when they are more than bound, the oldest, down to half of it so
// that the copy is rare; but none that is not staged.
func (e *entry) trim(bound int) {
	size, drop := e.recentBytes, 0
	over := size > bound
	for drop < e.unsaved {
		c := &e.recent[drop]
		if c.next > e.state.Info.LastCompletedStartedID+1 && !(over && size > bound/2) {
			break
		}
		size -= len(c.bytes)
		drop++
	}
	if drop > 0 {
		e.recent = slices.Clone(e.recent[drop:]) // views hold the old slice
		e.recentBytes, e.unsaved = size, e.unsaved-drop
	}
}

// lru orders entries by their last use, and knows what they cost together. The zero value is empty.
type lru struct {
	newest, oldest *entry
	bytes          int
}

// touch makes e the newest, which may have been in another list.
func (l *lru) touch(e *entry) {
	if l.newest == e {
		return
	}
	e.leave()
	e.in = l
	l.bytes += e.size
	e.older = l.newest
	if l.newest != nil {
		l.newest.newer = e
	}
	l.newest = e
	if l.oldest == nil {
		l.oldest = e
	}
}

// leave takes e out of the list that it is in, if any.
func (e *entry) leave() {
	l := e.in
	if l == nil {
		return
	}
	l.bytes -= e.size
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		l.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		l.oldest = e.newer
	}
	e.newer, e.older, e.in = nil, nil, nil
}

// resize takes note of what e costs now.
func (e *entry) resize(size int) {
	if e.in != nil {
		e.in.bytes += size - e.size
	}
	e.size = size
}
