package engine

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

const (
	deliveryRetryMin = time.Second
	deliveryRetryMax = time.Minute
	outboxPageRows   = 500
)

// outbox delivers the messages of a shard's runs, at least once each. Messages from one run to the same workflow are
// delivered in order, one after the other.
//
// Invariant: a message in the store is in memory, or the scan is still to reach it (behind).
type outbox struct {
	s        *Shard
	messages map[messageKey]*delivery
	lanes    map[lane][]*delivery // the first one is under way, or waits for its next attempt
	ready    []*delivery          // first ones of lanes to be begun
	running  int

	behind bool                    // the store may have rows that memory lacks
	held   []outboxRow             // came during the scan; they queue behind what the scan finds
	holds  map[messageKey]struct{} // those of held that are still in the store
	missed bool                    // a row was turned away since the scan began
	from   []byte                  // where the scan goes on
	paging bool
	gone   map[messageKey]struct{} // rows deleted while a page is being read, which may hold them
}

type messageKey struct {
	run    ids.RunKey
	number int64
}

type lane struct {
	from ids.RunKey
	to   ids.WorkflowKey
}

type delivery struct {
	messageKey
	message  *execution.Message
	attempts int
	dead     bool // its row is gone
}

func (d *delivery) lane() lane { return lane{d.run, d.message.To.Of()} }

func (o *outbox) reset(s *Shard) {
	*o = outbox{s: s, messages: make(map[messageKey]*delivery), lanes: make(map[lane][]*delivery),
		holds: make(map[messageKey]struct{}), behind: true}
}

// changed hears of each outbox row that was written or deleted, once that is durable.
func (o *outbox) changed(m message) {
	k := messageKey{m.run, m.op.task.Outbox}
	if m.op.remove {
		if d := o.messages[k]; d != nil {
			d.dead = true
		}
		delete(o.holds, k)
		if o.paging {
			o.gone[k] = struct{}{}
		}
		return
	}
	o.take(outboxRow{k, m.op.task.Message})
}

// take takes a new message up, or leaves it to the scan.
func (o *outbox) take(row outboxRow) {
	switch {
	case !o.behind && o.add(row.messageKey, row.message):
	case o.behind && len(o.held) < o.s.opts.OutboxRows:
		o.held = append(o.held, row)
		o.holds[row.messageKey] = struct{}{}
	default:
		o.behind, o.missed = true, true
	}
}

// add takes a message up; false: there is no room.
func (o *outbox) add(k messageKey, m *execution.Message) bool {
	if o.messages[k] != nil {
		return true
	}
	if len(o.messages) >= o.s.opts.OutboxRows {
		return false
	}
	d := &delivery{messageKey: k, message: m}
	o.messages[k] = d
	l := d.lane()
	o.lanes[l] = append(o.lanes[l], d)
	if len(o.lanes[l]) == 1 {
		o.ready = append(o.ready, d)
	}
	return true
}

// pump begins deliveries and reads rows while there is room.
func (o *outbox) pump() {
	for o.running < o.s.opts.Deliveries && len(o.ready) > 0 {
		d := o.ready[0]
		o.ready[0] = nil
		o.ready = o.ready[1:]
		o.running++
		o.begin(d)
	}
	if o.behind && !o.paging && len(o.messages) <= o.s.opts.OutboxRows/2 {
		o.page()
	}
}

func (o *outbox) begin(d *delivery) {
	s := o.s
	if d.dead {
		o.done(d)
		return
	}
	key, run, in, ok, err := s.deliver(d)
	if err != nil {
		o.later(d)
		return
	}
	if !ok {
		o.respond(d, execution.Delivered{Outbox: d.number})
		return
	}
	// The answer comes in the loop of the target's shard, which may be another one.
	then := s.guardAnswer(func(answer any, err error) { o.delivered(d, answer, err) })
	if err := s.eng.SubmitAsync(key, run, in, func(answer any, err error) {
		s.post(func() { then(answer, err) })
	}); err != nil {
		o.delivered(d, nil, err)
	}
}

func (s *Shard) deliver(d *delivery) (key ids.WorkflowKey, run ids.RunID, in execution.Input, ok bool, err error) {
	defer s.catch("deliver message", &call{key: d.run.Of(), run: d.run.Run}, &err)
	key, run, in, ok = s.core.Deliver(d.run, d.message)
	return key, run, in, ok, nil
}

// delivered tells the sender how its message fared.
func (o *outbox) delivered(d *delivery, answer any, err error) {
	if err != nil && undecided(err) {
		o.later(d)
		return
	}
	in, retry, err := o.s.response(d, answer, err)
	if retry || err != nil {
		o.later(d)
		return
	}
	o.respond(d, in)
}

func (s *Shard) response(d *delivery, answer any, failed error) (in execution.Input, retry bool, err error) {
	defer s.catch("answer message", &call{key: d.run.Of(), run: d.run.Run}, &err)
	in, retry = s.core.Respond(d.message, d.number, answer, failed)
	return in, retry, nil
}

// undecided tells whether an error says nothing of what a run thinks of its input.
func undecided(err error) bool {
	var refusal *execution.Error
	if !errors.As(err, &refusal) {
		return true
	}
	return refusal.Kind == execution.Unavailable ||
		refusal.Kind == execution.ResourceExhausted && refusal.Cause == enumspb.RESOURCE_EXHAUSTED_CAUSE_SYSTEM_OVERLOADED
}

// respond steps the sender, whose transition removes the row.
func (o *outbox) respond(d *delivery, in execution.Input) {
	s := o.s
	s.handle(&call{kind: callInput, key: d.run.Of(), run: d.run.Run, in: in,
		then: s.guardAnswer(func(_ any, err error) { o.responded(d, err) })})
}

func (o *outbox) responded(d *delivery, err error) {
	switch {
	case err == nil:
	case undecided(err) || isKind(err, execution.Internal):
		o.later(d)
		return
	default:
		// The sender is gone, or refuses the news for good. Its row would come back at every start.
		o.s.stage(storage.Op{Key: d.key(), Delete: true})
	}
	o.done(d)
}

func (d *delivery) key() []byte {
	return record.TaskKey(d.run, &execution.Task{Kind: execution.TaskMessage, Outbox: d.number})
}

// later tries again after a while; the lane waits.
func (o *outbox) later(d *delivery) {
	wait := min(deliveryRetryMin<<min(d.attempts, 10), deliveryRetryMax)
	d.attempts++
	o.running--
	o.s.after(o.s.now().Add(wait), func() { o.ready = append(o.ready, d) })
}

func (o *outbox) done(d *delivery) {
	o.running--
	delete(o.messages, d.messageKey)
	l := d.lane()
	left := o.lanes[l][1:]
	if len(left) == 0 {
		delete(o.lanes, l)
		return
	}
	o.lanes[l] = left
	o.ready = append(o.ready, left[0])
}

// page reads rows of the shard's slots, in any order of runs.
func (o *outbox) page() {
	s := o.s
	o.paging, o.gone = true, make(map[messageKey]struct{})
	low, high := s.slots()
	from, end := o.from, storage.PrefixEnd(record.AllOutbox(high-1))
	if from == nil {
		from, o.missed = record.AllOutbox(low), false
	}
	s.job(func(r storage.Reader) func() {
		rows, last, err := scanOutbox(r, from, end, outboxPageRows)
		return func() { o.paged(rows, last, err) }
	})
}

// slots are the shard's, from low to before high.
func (s *Shard) slots() (low, high ids.Slot) {
	n := ids.Slots / s.opts.Shards
	return ids.Slot(int(s.id) * n), ids.Slot((int(s.id) + 1) * n)
}

type outboxRow struct {
	messageKey
	message *execution.Message
}

// scanOutbox reads up to limit rows; last is nil when there are no more.
func scanOutbox(r storage.Reader, from, end []byte, limit int) (rows []outboxRow, last []byte, err error) {
	var fault error
	err = r.Scan(from, end, func(key, value []byte) bool {
		var row outboxRow
		if row.run, row.number, fault = record.ParseOutboxKey(key); fault == nil {
			row.message, fault = record.DecodeMessage(value)
		}
		if fault != nil {
			fault = fmt.Errorf("outbox row: %w", fault)
			return false
		}
		if rows = append(rows, row); len(rows) < limit {
			return true
		}
		last = bytes.Clone(key)
		return false
	})
	return rows, last, cmp.Or(err, fault)
}

func (o *outbox) paged(rows []outboxRow, last []byte, err error) {
	s := o.s
	if err != nil {
		_ = s.readFailed("read outbox", ids.RunKey{}, err)
		s.after(s.now().Add(deliveryRetryMin), func() { o.paging = false })
		return
	}
	o.paging = false
	for _, row := range rows {
		if _, ok := o.gone[row.messageKey]; ok {
			continue
		}
		if !o.add(row.messageKey, row.message) {
			o.from = (&delivery{messageKey: row.messageKey}).key()
			return
		}
	}
	if last != nil {
		o.from = append(last, 0)
		return
	}
	o.from, o.behind = nil, o.missed
	held, holds := o.held, o.holds
	o.held, o.holds = nil, make(map[messageKey]struct{})
	for _, row := range held {
		if _, ok := holds[row.messageKey]; ok {
			o.take(row)
		}
	}
}
