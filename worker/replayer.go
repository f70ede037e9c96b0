package worker

import (
	"fmt"
	"io"
	"log/slog"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"

	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/flow"
	"github.com/perdure/perdure/internal/replay"
)

// NondeterminismError says where code and history part ways.
type NondeterminismError = replay.NondeterminismError

// Replayer takes code through recorded histories, without a server, and says where the two part ways.
type Replayer struct {
	registry *Registry
	// Converter decodes what the histories hold; nil: converter.Default.
	Converter converter.Converter
	// Codecs decode what the histories hold, before Converter does: those of the client.
	Codecs []converter.Codec
	// Logger gets what workflow code logs past the end of a history; nil: nobody.
	Logger *slog.Logger
	// Interceptors are those of the worker; headers are not compared.
	Interceptors []flow.Interceptor
}

// NewReplayer makes one. Register workflow types with ReplayWorkflow.
func NewReplayer() *Replayer { return &Replayer{registry: newRegistry()} }

// ReplayWorkflow registers the workflow type W.
func ReplayWorkflow[W any](p *Replayer) { Workflow[W](&Worker{registry: p.registry}) }

// ActivityAs says that workflow code means name when it calls fn. Nothing is run.
func (p *Replayer) ActivityAs(name string, fn any) {
	(&Worker{registry: p.registry}).ActivityAs(name, fn)
}

// JSON replays a history as CLI and UI export it.
func (p *Replayer) JSON(from io.Reader) error {
	text, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	h := &historypb.History{}
	if err := (temporalproto.CustomJSONUnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, h); err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	return p.Events(h.Events)
}

// Events replays a history from its first event. The error says which event the history has, what the code did instead, and
// at which of its lines.
func (p *Replayer) Events(events []*historypb.HistoryEvent) (err error) {
	if err := p.registry.check(); err != nil {
		return err
	}
	if len(p.Codecs) > 0 {
		if events, err = converter.DecodeHistory(events, p.Codecs...); err != nil {
			return err
		}
	}
	if len(events) == 0 || events[0].GetWorkflowExecutionStartedEventAttributes() == nil {
		return fmt.Errorf("the history does not begin with WorkflowExecutionStarted")
	}
	started := events[0].GetWorkflowExecutionStartedEventAttributes()
	d, err := p.registry.workflow(started.WorkflowType.GetName())
	if err != nil {
		return err
	}
	c, log := p.Converter, p.Logger
	if c == nil {
		c = converter.Default()
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	env := &flow.Env{
		Namespace: "replay", TaskQueue: started.TaskQueue.GetName(), Converter: c, Failures: failure.Default(c, failure.Options{}), Log: log,
		ActivityName: p.registry.activityName, Interceptors: p.Interceptors,
	}
	r := flow.New(env, d, started.WorkflowId, started.OriginalExecutionRunId)
	defer r.Close()
	_, activations := replay.Split(events)
	for _, a := range activations {
		if !a.Replay {
			break // nothing to compare with
		}
		if err := r.Activate(a, nil); err != nil {
			return err
		}
	}
	return nil
}
