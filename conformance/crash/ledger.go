package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// ledger is what clients know: what they asked for, and what the server acknowledged. It lives in this process, which is
// never killed, and is what the server is judged by. Safe for concurrent use.
type ledger struct {
	mu         sync.Mutex
	runs       map[string]*runEntry // by workflow ID; nobody uses one twice
	surprises  map[string]int       // unexpected answers, by text
	violations []string
	doing      map[int]string // what each client does at the moment
	asked      map[string]int // requests that were acknowledged, by kind
	again      map[string]int // of these, requests that had to be sent more than once
}

// runEntry is what is known of one workflow.
type runEntry struct {
	workflowID string
	runID      string // of the acknowledged start; of the first run of a chain
	child      bool   // started by a workflow, so its run ID is not known to the client
	orphan     bool   // the client gave up asking: it may exist or not
	alone      bool   // no client waits for its end
	once       []int  // steps that may be attempted one time
	stopped    string // how it was told to end, as an acknowledged request said: its last event
	signals    map[int]*signalEntry
	updates    []*updateEntry
}

type signalEntry struct {
	requestID string // empty when a workflow sent it
	acked     bool
}

type updateEntry struct {
	id      string
	value   int
	outcome put
}

func newLedger() *ledger {
	return &ledger{runs: map[string]*runEntry{}, surprises: map[string]int{}, doing: map[int]string{}, asked: map[string]int{}, again: map[string]int{}}
}

// run makes or returns the entry of a workflow; edit runs under the lock.
func (l *ledger) run(workflowID string, edit func(*runEntry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.runs[workflowID]
	if e == nil {
		e = &runEntry{workflowID: workflowID, signals: map[int]*signalEntry{}}
		l.runs[workflowID] = e
	}
	edit(e)
}

func (l *ledger) violation(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.violations = append(l.violations, fmt.Sprintf(format, args...))
}

func (l *ledger) surprise(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.surprises[what]++
}

func (l *ledger) acked(kind string, attempts int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[kind]++
	if attempts > 1 {
		l.again[kind]++
	}
}

func (l *ledger) busy(client int, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if what == "" {
		delete(l.doing, client)
	} else {
		l.doing[client] = what
	}
}

// unfinished lists what clients are still waiting for.
func (l *ledger) unfinished() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Values(l.doing))
}

// counts is one line about what was acknowledged.
func (l *ledger) counts() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(l.asked)) {
		parts = append(parts, fmt.Sprintf("%s %d (%d asked again)", kind, l.asked[kind], l.again[kind]))
	}
	return strings.Join(parts, ", ")
}
