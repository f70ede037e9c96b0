package flow

import (
	"fmt"
	"slices"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/replay"
	"github.com/perdure/perdure/internal/retry"
)

// Marker names and details are those of the official Go SDK, so that each of the two replays what the other recorded.
const (
	markerVersion = "Version"
	markerSide    = "SideEffect"
	markerLocal   = "LocalActivity"
)

func (r *Run) marker(name string, details map[string]*commonpb.Payloads, f *failurepb.Failure) {
	r.command(&commandpb.Command{
		CommandType: enumspb.COMMAND_TYPE_RECORD_MARKER,
		Attributes: &commandpb.Command_RecordMarkerCommandAttributes{RecordMarkerCommandAttributes: &commandpb.RecordMarkerCommandAttributes{
			MarkerName: name, Details: details, Failure: f,
		}},
	}, name, nil)
}

// recorded finds the marker of this activation that is meant.
func (r *Run) recorded(name string, meant func(a *historypb.MarkerRecordedEventAttributes) bool) *historypb.MarkerRecordedEventAttributes {
	for _, e := range r.markers {
		if a := e.GetMarkerRecordedEventAttributes(); a.MarkerName == name && meant(a) {
			return a
		}
	}
	return nil
}

// SideEffect runs fn once in the life of the run, records what it gives and stores that behind ptr, now and on replay.
func SideEffect(ctx Context, fn func() any, ptr any) error {
	r := ctx.run()
	r.mayCommand("run a side effect")
	r.sideID++
	id := r.sideID
	var data *commonpb.Payloads
	if r.replaying {
		a := r.recorded(markerSide, func(a *historypb.MarkerRecordedEventAttributes) bool {
			var n int64
			return r.decode(a.Details["side-effect-id"], &n) == nil && n == id
		})
		if a == nil {
			panic(&replay.NondeterminismError{EventID: r.startedID, Actual: fmt.Sprintf("side effect %d in the task of this event", id), Where: where()})
		}
		data = a.Details["data"]
	} else {
		data = r.encode(fn())
	}
	r.marker(markerSide, map[string]*commonpb.Payloads{"side-effect-id": r.encode(id), "data": data}, nil)
	return r.decode(data, ptr)
}

// DefaultVersion is that of code from before a change.
const DefaultVersion = -1

// Version says which version of a change the run goes on with: the newest, max, when it gets there for the first time, the
// recorded one on replay, DefaultVersion when it got there before the change was made. It is fixed at the first call.
func Version(ctx Context, change string, min, max int) int {
	r := ctx.run()
	v, known := r.versions[change]
	if !known {
		v = r.version(change, max)
		r.versions[change] = v
	}
	if v < min || v > max {
		panic(&replay.NondeterminismError{
			EventID: r.startedID, Expected: fmt.Sprintf("version %d of change %q", v, change), Actual: fmt.Sprintf("support versions %d to %d", min, max), Where: where(),
		})
	}
	return v
}

func (r *Run) version(change string, max int) int {
	r.mayCommand("ask for a version")
	v, listed := max, true
	if r.replaying {
		a := r.recorded(markerVersion, func(a *historypb.MarkerRecordedEventAttributes) bool {
			var name string
			return r.decode(a.Details["change-id"], &name) == nil && name == change
		})
		if a == nil {
			return DefaultVersion
		}
		if err := r.decode(a.Details["version"], &v); err != nil {
			panic(err)
		}
		// Whether there is a search attribute beside the marker depends on the SDK that wrote the history, and on its version.
		listed = r.listedAfter(a)
	}
	r.marker(markerVersion, map[string]*commonpb.Payloads{
		"change-id": r.encode(change), "version": r.encode(v), "version-search-attribute-updated": r.encode(listed),
	}, nil)
	if listed {
		r.listVersion(fmt.Sprintf("%s-%d", change, v))
	}
	return v
}

func (r *Run) listedAfter(marker *historypb.MarkerRecordedEventAttributes) bool {
	for i, e := range r.recordedCommands {
		if e.GetMarkerRecordedEventAttributes() == marker && i+1 < len(r.recordedCommands) {
			next := r.recordedCommands[i+1].GetUpsertWorkflowSearchAttributesEventAttributes()
			return next.GetSearchAttributes().GetIndexedFields()["TemporalChangeVersion"] != nil
		}
	}
	return false
}

// listVersion makes runs findable by the versions they go by.
func (r *Run) listVersion(entry string) {
	r.versionList = append(r.versionList, entry)
	p, err := converter.Default().ToPayload(r.versionList)
	if err != nil {
		panic(err)
	}
	p.Metadata["type"] = []byte("KeywordList")
	r.upsert(&commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"TemporalChangeVersion": p}})
}

// LocalActivityOptions are those of one local activity. One of StartToClose and ScheduleToClose is required.
type LocalActivityOptions struct {
	// ScheduleToClose bounds all attempts and the waits between them, StartToClose each attempt. 0: no bound.
	ScheduleToClose, StartToClose time.Duration
	Retry                         *retry.RetryPolicy
}

// LocalActivity is one that runs in the worker that has the workflow task.
type LocalActivity struct {
	ID      int64
	Name    string
	Input   *commonpb.Payloads
	Options LocalActivityOptions
	Header  *commonpb.Header
	future  *Future
}

type localMarker struct {
	ActivityID   string
	ActivityType string
	Attempt      int32
}

// Local starts a local activity.
func Local(ctx Context, name string, o LocalActivityOptions, args ...any) *Future {
	r := ctx.run()
	r.mayCommand("start a local activity")
	f := r.NewFuture()
	if ctx.scope().canceled() {
		f.Resolve(nil, failure.NewCanceledError())
		return f
	}
	if o.StartToClose <= 0 && o.ScheduleToClose <= 0 {
		f.Resolve(nil, fmt.Errorf("local activity %s: StartToClose or ScheduleToClose is required", name))
		return f
	}
	r.localID++
	l := &LocalActivity{ID: r.localID, Name: name, Input: r.encode(args...), Options: o, future: f}
	l.Header = r.outgoing(ctx, Call{Kind: CallLocalActivity, Name: name, ID: fmt.Sprint(l.ID)})
	r.locals = append(r.locals, l)
	// No marker tells of a cancellation: what led to it leads to it again.
	ctx.scope().onCancel(f, func() {
		if !f.ready {
			r.dropLocal(l)
			f.Resolve(nil, failure.NewCanceledError())
		}
	})
	return f
}

// Locals are the local activities without a result. While there are any, a task is held, or renewed.
func (r *Run) Locals() []*LocalActivity { return r.locals }

// ResolveLocal brings the result of one and lets the run go on. Between two activations only.
func (r *Run) ResolveLocal(l *LocalActivity, value *commonpb.Payloads, f *failurepb.Failure, attempt int32) (err error) {
	defer r.recovering(&err)
	r.settleLocal(l, value, f, attempt)
	r.step()
	return r.failed
}

func (r *Run) dropLocal(l *LocalActivity) {
	r.locals = slices.DeleteFunc(r.locals, func(o *LocalActivity) bool { return o == l })
}

func (r *Run) settleLocal(l *LocalActivity, value *commonpb.Payloads, f *failurepb.Failure, attempt int32) {
	r.dropLocal(l)
	details := map[string]*commonpb.Payloads{"data": r.encode(localMarker{ActivityID: fmt.Sprint(l.ID), ActivityType: l.Name, Attempt: attempt})}
	if f == nil {
		details["result"] = value
	}
	r.marker(markerLocal, details, f)
	if f != nil {
		l.future.Resolve(nil, r.Env.Failures.FromFailure(f))
		return
	}
	l.future.Resolve(value, nil)
}

// replayLocals settles local activities in the order of their markers.
func (r *Run) replayLocals() {
	for _, e := range r.markers {
		a := e.GetMarkerRecordedEventAttributes()
		if a.MarkerName != markerLocal {
			continue
		}
		var data localMarker
		if err := r.decode(a.Details["data"], &data); err != nil {
			panic(fmt.Errorf("event %d: %w", e.EventId, err))
		}
		for _, l := range slices.Clone(r.locals) {
			if fmt.Sprint(l.ID) == data.ActivityID {
				r.settleLocal(l, a.Details["result"], a.Failure, data.Attempt)
				r.step()
				break
			}
		}
	}
}
