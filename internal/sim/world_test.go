package sim

import (
	"container/heap"
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/storage/mem"
)

const (
	namespace = ids.NamespaceID("00000000-0000-4000-8000-0000000000aa")
	genesis   = clock.Nanos(1_700_000_000_000_000_000)
)

// sim is one simulated world. Everything happens in events, one after the other, at simulated moments.
type sim struct {
	seed    uint64
	rng     *rand.Rand
	clock   simClock
	queue   eventHeap
	events  int
	conf    config
	faults  faults
	healed  bool
	verbose bool
	trace   []string
	failure string

	disk    *disk
	node    *node // nil while it is down
	audit   *audit
	ledger  *ledger
	clients *clients
	workers []*worker
	marks   map[string]int
	runs    int // made run IDs
	serial  int // made other IDs
	digest  uint64
}

// config is what a seed decides for good.
type config struct {
	steps     int // client operations
	retention time.Duration
	shards    int
	small     bool // tiny caches, pages and limits of the engine
	memory    int  // tasks a queue keeps
}

// simClock is read by the engine's callers too.
type simClock struct{ now atomic.Int64 }

func (c *simClock) Now() clock.Nanos { return clock.Nanos(c.now.Load()) }

func (c *simClock) At(clock.Nanos) (<-chan struct{}, func()) {
	panic("sim: nobody waits for the clock here")
}

type event struct {
	at  clock.Nanos
	seq int
	do  func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return e
}

func newSim(seed uint64, steps int, verbose bool) *sim {
	s := &sim{seed: seed, rng: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), verbose: verbose, marks: map[string]int{}}
	s.clock.now.Store(int64(genesis))
	s.conf = config{steps: steps, retention: 24 * time.Hour, shards: 1 << s.rng.IntN(3), small: s.chance(0.6), memory: 1000}
	if s.chance(0.5) {
		s.conf.memory = 2 + s.rng.IntN(4)
	}
	if s.chance(0.15) {
		s.conf.retention = 20 * time.Second
	}
	s.faults = chooseFaults(s.rng)
	s.audit = newAudit(s)
	s.ledger = newLedger(s)
	s.disk = &disk{s: s, stolen: make(map[ids.ShardID]bool)}
	s.disk.mem = mem.New(mem.Options{Choose: s.disk.choose, Lands: s.disk.lands})
	s.startNode()
	s.clients = newClients(s)
	for i := range 2 + s.rng.IntN(2) {
		s.workers = append(s.workers, newWorker(s, i))
	}
	s.chaos()
	return s
}

func (s *sim) now() clock.Nanos { return s.clock.Now() }

func (s *sim) chance(p float64) bool { return s.rng.Float64() < p }

// between is a duration of any order of magnitude between two bounds.
func (s *sim) between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	d := float64(high-low) * s.rng.Float64() * s.rng.Float64()
	return low + time.Duration(d)
}

// after makes do happen later.
func (s *sim) after(d time.Duration, do func()) {
	s.serial++
	heap.Push(&s.queue, event{s.now().Add(d), s.serial, do})
}

func (s *sim) id(prefix string) string {
	s.serial++
	return fmt.Sprintf("%s-%d", prefix, s.serial)
}

func (s *sim) newRunID() ids.RunID {
	s.runs++
	version := 7
	if s.seed%5 == 0 { // a server of an earlier build made the run, or none did
		version = []int{4, 7}[s.runs%2]
	}
	return ids.RunID(fmt.Sprintf("%08x-%04x-%d000-8000-%012d", uint32(s.seed), s.runs/4, version, s.runs))
}

// say writes the story down for a replay.
func (s *sim) say(format string, args ...any) {
	if s.verbose {
		s.trace = append(s.trace, fmt.Sprintf("%9.3fs ", s.now().Sub(genesis).Seconds())+fmt.Sprintf(format, args...))
	}
}

// fail ends the simulation; the first failure counts.
func (s *sim) fail(format string, args ...any) {
	if s.failure == "" {
		s.failure = fmt.Sprintf("after %s: ", s.now().Sub(genesis)) + fmt.Sprintf(format, args...)
		s.say("FAILURE %s", s.failure)
	}
}

// step lets one event happen; false: the simulation has failed.
func (s *sim) step() bool {
	if s.failure != "" || len(s.queue) == 0 {
		return false
	}
	e := heap.Pop(&s.queue).(event)
	if e.at > s.now() {
		s.clock.now.Store(int64(e.at))
	}
	s.events++
	e.do()
	if s.node != nil {
		s.node.settle()
	}
	return s.failure == ""
}

// until steps until ok holds; after too long it fails with what.
func (s *sim) until(limit time.Duration, what string, ok func() bool, why func() string) bool {
	end, events := s.now().Add(limit), s.events+400_000
	for !ok() {
		if !s.step() {
			return false
		}
		if s.now() > end || s.events > events {
			s.fail("%s: not done after %s and %d events: %s", what, limit, s.events, why())
			return false
		}
	}
	return true
}

// run is the whole story: faults, then heal and drain. It returns what went wrong.
func (s *sim) run() string {
	s.until(6*time.Hour, "fault phase", s.clients.spent, func() string { return "clients are not through" })
	s.heal()
	s.until(4*time.Hour, "drain", func() bool { return s.clients.idle() && s.audit.open() == 0 }, s.stuck)
	// What the last steps left to be done: acknowledgements, messages, deletions of rows.
	s.until(time.Hour, "rest", func() bool { return s.audit.settled() }, s.stuck)
	if s.failure == "" {
		s.audit.checkAll()
		s.ledger.check()
		s.checkLinear()
	}
	if s.failure == "" {
		s.clock.now.Add(int64(s.conf.retention))
		s.until(2*time.Hour, "retention", func() bool { return s.audit.empty() }, s.audit.leftovers)
	}
	s.close()
	return s.failure
}

func (s *sim) stuck() string {
	return strings.Join(append(s.audit.describeOpen(), s.clients.describe()...), "\n  ")
}

func (s *sim) close() {
	if s.node != nil {
		s.node.kill()
		s.node = nil
	}
}

// fingerprint is equal for equal stories.
func (s *sim) fingerprint() string { return fmt.Sprintf("%016x/%d/%d", s.digest, s.events, s.serial) }

func (s *sim) mix(b []byte) {
	h := fnv.New64a()
	_, _ = h.Write(b)
	s.digest = s.digest*1099511628211 ^ h.Sum64()
}

// hash is a fixed choice by what it is made of.
func hash(parts ...any) uint64 {
	h := fnv.New64a()
	fmt.Fprintln(h, parts...)
	return h.Sum64()
}

// logs turns complaints of the node into failures.
type logs struct{ s *sim }

func (l logs) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (l logs) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l logs) WithGroup(string) slog.Handler                    { return l }
func (l logs) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&b, " %s=%v", a.Key, a.Value); return true })
	switch {
	case r.Message == "read failed" && l.s.disk.readsFailed:
		l.s.say("log: %s", b.String())
	case r.Level >= slog.LevelError:
		l.s.fail("the node complains: %s", b.String())
	default:
		l.s.say("log: %s", b.String())
	}
	return nil
}
