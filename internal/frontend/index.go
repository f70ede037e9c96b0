package frontend

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/filter"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/namespace"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

// maxPinned is how many runs of the workflow IDs that a query names are looked up one by one; with more of them the
// whole index is read, in bounded memory.
const maxPinned = 50_000

// nanosOf is t as a moment, kept within what a moment can be.
func nanosOf(t *timestamppb.Timestamp) clock.Nanos {
	const limit = int64(math.MaxInt64 / 1_000_000_000)
	switch {
	case t.Seconds >= limit:
		return math.MaxInt64
	case t.Seconds <= -limit:
		return math.MinInt64
	}
	return clock.FromProto(t)
}

// visit is called for each row in the order of listings, with a nil info if the row does not match. row is valid only
// during the call. It returns whether to go on.
type visit func(at listToken, row []byte, info *workflowpb.WorkflowExecutionInfo) bool

// scanIndex visits the namespace's visibility rows after the given place (nil: from the start) that can match q.
func (s *Service) scanIndex(ctx context.Context, n *namespace.Namespace, q *filter.Query, after *listToken, fn visit) error {
	snapshot, err := s.store.Snapshot()
	if err != nil {
		return fmt.Errorf("list executions: %w", err)
	}
	defer snapshot.Close()
	x := &indexScan{ctx: ctx, n: n, q: q, fn: fn, hideDivisions: !q.MentionsDivision()}
	if after != nil {
		x.after = record.IndexKey(n.ID, after.Run, after.Closed, after.Time)
	}
	if values, ok := q.EqualTo(filter.WorkflowID); ok {
		keys, ok, err := x.pinned(snapshot, values)
		if err != nil {
			return fmt.Errorf("list executions: %w", err)
		}
		if ok {
			return x.visitKeys(snapshot, keys)
		}
	}
	for _, closed := range []bool{false, true} {
		start, end, ok := x.section(closed)
		if !ok {
			continue
		}
		if err := cmp.Or(snapshot.Scan(start, end, x.row), x.fault); err != nil {
			return fmt.Errorf("list executions: %w", err)
		}
		if x.stopped {
			return nil
		}
	}
	return nil
}

// indexScan is one walk through the index.
type indexScan struct {
	ctx           context.Context
	n             *namespace.Namespace
	q             *filter.Query
	fn            visit
	after         []byte // key after which to begin
	hideDivisions bool

	seen    int
	stopped bool  // fn has had enough
	fault   error // ends the walk
}

// section is the range of keys of the open or the closed runs that can match; ok is false if none can.
func (x *indexScan) section(closed bool) (start, end []byte, ok bool) {
	if values, pinned := x.q.EqualTo(filter.ExecutionStatus); pinned && !slices.ContainsFunc(values, func(v string) bool { return closedStatus(v) == closed }) {
		return nil, nil, false
	}
	from, to := clock.Nanos(0), clock.Nanos(math.MaxInt64)
	narrow := func(attribute string, lowerOnly bool) {
		if b, ok := x.q.TimeBounds(attribute); ok {
			from = max(from, b.From)
			if !lowerOnly {
				to = min(to, b.To)
			}
		}
	}
	if closed {
		if x.q.RequiresNull(filter.CloseTime) {
			return nil, nil, false
		}
		narrow(filter.CloseTime, false)
		narrow(filter.StartTime, true) // nothing closes before it started
	} else {
		if _, pinned := x.q.TimeBounds(filter.CloseTime); pinned {
			return nil, nil, false
		}
		narrow(filter.StartTime, false)
	}
	if from > to {
		return nil, nil, false
	}
	start, end = x.timePrefix(closed, to), storage.PrefixEnd(x.timePrefix(closed, from)) // the newest come first
	if len(x.after) > 0 {
		if next := append(slices.Clone(x.after), 0); bytes.Compare(next, start) > 0 {
			start = next
		}
	}
	return start, end, bytes.Compare(start, end) < 0
}

// timePrefix is the prefix of the keys of one moment.
func (x *indexScan) timePrefix(closed bool, t clock.Nanos) []byte {
	key := record.IndexKey(x.n.ID, ids.RunID(uuid.Nil.String()), closed, t)
	return key[:len(key)-len(uuid.Nil)]
}

func closedStatus(name string) bool {
	return name != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING.String() && name != enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED.String()
}

// row visits one row; see storage.Reader.Scan.
func (x *indexScan) row(key, value []byte) bool {
	if x.seen++; x.seen%64 == 0 && x.ctx.Err() != nil {
		x.fault = x.ctx.Err()
		return false
	}
	t, err := record.IndexTime(key)
	if err != nil {
		x.fault = errRow(key, err)
		return false
	}
	info := new(workflowpb.WorkflowExecutionInfo)
	if err := proto.Unmarshal(value, info); err != nil {
		x.fault = errRow(key, err)
		return false
	}
	id, _ := uuid.FromBytes(key[len(key)-len(uuid.Nil):])
	open := record.IndexPrefix(x.n.ID, false)
	at := listToken{Closed: !bytes.HasPrefix(key, open), Time: t, Run: ids.RunID(id.String())}
	r := indexed{x.n, info}
	if x.hideDivisions && !r.Value(filter.NamespaceDivision).IsNull() || !x.q.Match(r) {
		info = nil
	}
	x.stopped = !x.fn(at, value, info)
	return !x.stopped
}

// pinned finds the index keys of all runs of some workflow IDs, in order; ok is false if there are too many.
func (x *indexScan) pinned(r storage.Reader, workflows []string) (keys [][]byte, ok bool, err error) {
	for _, id := range workflows {
		workflow := ids.WorkflowKey{Namespace: x.n.ID, Workflow: ids.WorkflowID(id)}
		var fault error
		many := false
		err := record.ScanRuns(r, workflow, storage.PrefixEnd, func(run ids.RunKey) bool {
			if fault = x.ctx.Err(); fault != nil {
				return false
			}
			if many = len(keys) == maxPinned; many {
				return false
			}
			var key []byte
			switch key, fault = indexKeyOf(r, run); {
			case errors.Is(fault, storage.ErrNotFound):
				fault = nil // the run is being removed
			case fault == nil:
				keys = append(keys, key)
			}
			return fault == nil
		})
		if err = cmp.Or(err, fault); err != nil || many {
			return nil, false, err
		}
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys, true, nil
}

// indexKeyOf is where a run's visibility row is. Only the run's first two rows are read.
func indexKeyOf(r storage.Reader, run ids.RunKey) ([]byte, error) {
	loader := record.NewLoader(run)
	for _, kind := range []execution.RowKind{execution.RowInfo, execution.RowStart} {
		row := execution.Row{Kind: kind}
		value, err := r.Get(record.RowKey(run, row))
		if err == nil {
			err = loader.DecodeRow(row, value)
		}
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", run, err)
		}
	}
	st, err := loader.State()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", run, err)
	}
	if st.Open() {
		return record.IndexKey(run.Namespace, run.Run, false, st.Start.StartTime), nil
	}
	return record.IndexKey(run.Namespace, run.Run, true, st.Info.CloseTime), nil
}

// visitKeys visits the rows under some keys.
func (x *indexScan) visitKeys(r storage.Reader, keys [][]byte) error {
	for _, key := range keys {
		if bytes.Compare(key, x.after) <= 0 {
			continue
		}
		value, err := r.Get(key)
		if errors.Is(err, storage.ErrNotFound) {
			continue // the run is being removed
		}
		if err != nil {
			return fmt.Errorf("list executions: %w", err)
		}
		if !x.row(key, value) {
			return x.fault
		}
	}
	return nil
}
