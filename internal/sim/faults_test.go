package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/storage/mem"
)

// faults are the probabilities and kinds of what goes wrong. Each seed has a mix of its own; after heal all are zero.
type faults struct {
	notApplied, unknownApplied, unknownLost, unknownLate, fenced float64 // of a batch
	acquire                                                      float64 // of an acquisition
	slowDisk                                                     float64 // of a write
	requestLost, replyLost, doubled, late                        float64 // of a call
	taskFails, taskVanishes, slowTask, cacheLost                 float64 // of a workflow task
	badCommand, heartbeat, ignoresUpdate, ignoresQuery           float64
	activityVanishes                                             float64
	// of a moment of chaos
	crash, restart, jump, stale, noReads, workerDies, strike, partition float64
	every                                                               time.Duration // between two moments of chaos
}

func chooseFaults(r *rand.Rand) faults {
	maybe := func(p, up float64) float64 {
		if r.Float64() > p {
			return 0
		}
		return up * r.Float64()
	}
	return faults{
		notApplied: maybe(0.4, 0.03), unknownApplied: maybe(0.4, 0.04), unknownLost: maybe(0.4, 0.03), unknownLate: maybe(0.4, 0.04),
		fenced: maybe(0.4, 0.03), acquire: maybe(0.4, 0.3), slowDisk: maybe(0.4, 0.1),
		requestLost: maybe(0.6, 0.08), replyLost: maybe(0.6, 0.1), doubled: maybe(0.6, 0.15), late: maybe(0.5, 0.1),
		taskFails: maybe(0.6, 0.15), taskVanishes: maybe(0.6, 0.1), slowTask: maybe(0.7, 0.3), cacheLost: maybe(0.6, 0.3),
		badCommand: maybe(0.5, 0.1), heartbeat: maybe(0.5, 0.3), ignoresUpdate: maybe(0.4, 0.2), ignoresQuery: maybe(0.4, 0.2),
		activityVanishes: maybe(0.6, 0.2),
		crash:            maybe(0.7, 1), restart: maybe(0.4, 0.5), jump: maybe(0.4, 0.5), stale: maybe(0.4, 0.5), noReads: maybe(0.4, 0.5),
		workerDies: maybe(0.5, 0.5), strike: maybe(0.3, 0.5), partition: maybe(0.3, 0.5),
		every: time.Second + time.Duration(r.Int64N(int64(20*time.Second))),
	}
}

// chaos brings about what happens at large, again and again until heal.
func (s *sim) chaos() {
	s.after(s.between(time.Millisecond, 2*s.faults.every), func() {
		if s.healed {
			return
		}
		s.disaster()
		s.chaos()
	})
}

func (s *sim) disaster() {
	f := s.faults
	pick := s.rng.Float64() * (f.crash + f.restart + f.jump + f.stale + f.noReads + f.workerDies + f.strike + f.partition)
	is := func(weight float64) bool {
		hit := pick >= 0 && pick < weight
		pick -= weight
		return hit
	}
	switch {
	case is(f.crash):
		s.crash()
	case is(f.restart):
		s.restart()
	case is(f.jump):
		d := s.between(time.Second, 3*time.Minute)
		s.say("clock jumps by %s", d)
		s.clock.now.Add(int64(d))
	case is(f.stale):
		shard := ids.ShardID(s.rng.IntN(s.conf.shards))
		s.say("another owner takes shard %d", shard)
		s.disk.steal(shard)
	case is(f.noReads):
		s.say("reads fail for a while")
		s.disk.noReads, s.disk.readsFailed = true, true
		s.after(s.between(0, 5*time.Second), func() { s.disk.noReads = false; s.say("reads work again") })
	case is(f.workerDies):
		w := s.workers[s.rng.IntN(len(s.workers))]
		w.die(s.between(0, 15*time.Second))
	case is(f.strike):
		d := s.between(time.Second, time.Minute)
		for _, w := range s.workers {
			w.die(d)
		}
	case is(f.partition):
		was := s.faults.requestLost
		s.faults.requestLost = 0.9
		s.after(s.between(0, 15*time.Second), func() {
			if !s.healed {
				s.faults.requestLost = was
			}
		})
	}
}

// shardOf is the shard of a workflow, as the engine divides them.
func (s *sim) shardOf(key ids.WorkflowKey) ids.ShardID {
	return ids.ShardID(record.TimerGroup(key.Slot()) * s.conf.shards / record.TimerGroups)
}

// crash kills the node, which comes back some time later.
func (s *sim) crash() {
	if s.node == nil {
		return
	}
	s.say("CRASH")
	s.node.kill()
	s.node = nil
	s.disk.crash()
	s.audit.checkAll()
	s.after(s.between(time.Millisecond, 10*time.Second), s.startNode)
}

// restart stops the node in order, and may change the number of shards.
func (s *sim) restart() {
	if s.node == nil {
		return
	}
	s.say("RESTART")
	s.node.stop()
	s.node = nil
	s.disk.crash()
	s.audit.checkAll()
	s.conf.shards = 1 << s.rng.IntN(3)
	s.after(s.between(time.Millisecond, 3*time.Second), s.startNode)
}

// heal ends all faults.
func (s *sim) heal() {
	if s.failure != "" {
		return
	}
	s.say("HEAL")
	s.healed, s.faults, s.disk.noReads = true, faults{}, false
	s.startNode()
	s.clients.goHome()
}

var errNoDisk = errors.New("sim: the disk does not answer")

// disk is the store as the node sees it. It decides the fate of each batch and shows the audit what became durable.
type disk struct {
	s           *sim
	mem         *mem.Store
	outcome     mem.Outcome
	landed      []*storage.Batch // since the last call
	noReads     bool
	readsFailed bool                 // ever
	stolen      map[ids.ShardID]bool // by another owner; the shard learns of it when it writes, however late
}

// steal lets another owner have a shard.
func (d *disk) steal(shard ids.ShardID) {
	_, _ = d.mem.Acquire(context.Background(), shard)
	d.stolen[shard] = true
	d.settle()
}

func (d *disk) choose(*storage.Batch) mem.Outcome {
	f, r := &d.s.faults, d.s.rng.Float64()
	for _, o := range []struct {
		p       float64
		outcome mem.Outcome
	}{{f.notApplied, mem.NotApplied}, {f.unknownApplied, mem.UnknownApplied}, {f.unknownLost, mem.UnknownNotApplied}, {f.unknownLate, mem.UnknownLate}} {
		if r < o.p {
			d.outcome = o.outcome
			return o.outcome
		}
		r -= o.p
	}
	d.outcome = mem.Applied
	return mem.Applied
}

func (d *disk) lands(b *storage.Batch) bool {
	if d.s.chance(0.5) {
		d.landed = append(d.landed, b)
		return true
	}
	return false
}

// settle shows the audit the batches that came out of limbo.
func (d *disk) settle() {
	for _, b := range d.landed {
		d.s.say("a late batch of shard %d lands", b.Fence.Shard)
		d.s.audit.applied(b)
	}
	d.landed = nil
}

func (d *disk) crash() {
	d.mem = d.mem.Crash()
	d.settle()
}

func (d *disk) Acquire(ctx context.Context, shard ids.ShardID) (ids.Epoch, error) {
	fail := d.s.chance(d.s.faults.acquire)
	if fail && d.s.chance(0.5) {
		return 0, errNoDisk
	}
	epoch, err := d.mem.Acquire(ctx, shard)
	delete(d.stolen, shard)
	d.settle()
	if err == nil && fail {
		if d.s.chance(0.5) {
			return 0, storage.ErrUnknown
		}
		d.steal(shard)
	}
	return epoch, err
}

func (d *disk) Apply(ctx context.Context, b *storage.Batch) error {
	if d.s.chance(d.s.faults.fenced) {
		d.steal(b.Fence.Shard)
	}
	d.outcome = mem.NotApplied
	err := d.mem.Apply(ctx, b)
	d.settle()
	if err == nil || d.outcome == mem.UnknownApplied && errors.Is(err, storage.ErrUnknown) {
		d.s.audit.applied(b)
	}
	if err != nil {
		d.s.say("batch of shard %d: %v (outcome %d)", b.Fence.Shard, err, d.outcome)
	}
	return err
}

func (d *disk) Get(key []byte) ([]byte, error) {
	if d.noReads {
		return nil, errNoDisk
	}
	return d.mem.Get(key)
}

func (d *disk) Scan(start, end []byte, fn func(key, value []byte) bool) error {
	if d.noReads {
		return errNoDisk
	}
	return d.mem.Scan(start, end, fn)
}

func (d *disk) ScanReverse(start, end []byte, fn func(key, value []byte) bool) error {
	if d.noReads {
		return errNoDisk
	}
	return d.mem.ScanReverse(start, end, fn)
}

func (d *disk) Snapshot() (storage.Snapshot, error) { return d.mem.Snapshot() }

func (d *disk) Close() error { return d.mem.Close() }

var _ storage.Store = (*disk)(nil)
