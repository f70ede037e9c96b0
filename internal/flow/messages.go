package flow

import (
	"fmt"
	"maps"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	querypb "go.temporal.io/api/query/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	updatepb "go.temporal.io/api/update/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/internal/handlers"
	"github.com/perdure/perdure/internal/replay"
	"github.com/perdure/perdure/metrics"
)

// UpdateInfo names an update.
type UpdateInfo struct{ ID, Name string }

// working is a handler that has been given its message and has not returned.
type working struct {
	kind, name, id string
	abandon, done  bool
	draining       bool
}

type (
	// SignalHandler, QueryHandler, UpdateHandler and UpdateValidator are what code sets at run time.
	SignalHandler   = func(ctx Context, name string, args converter.Args) error
	QueryHandler    = func(ctx ReadContext, name string, args converter.Args) (any, error)
	UpdateHandler   = func(ctx Context, name string, args converter.Args) (any, error)
	UpdateValidator = func(ctx ReadContext, name string, args converter.Args) error
)

// runtimeHandlers are those that code has set; the name "" is the dynamic one.
type runtimeHandlers struct {
	signals map[string]SignalHandler
	queries map[string]QueryHandler
	updates map[string]runtimeUpdate
}

type runtimeUpdate struct {
	handler   UpdateHandler
	validator UpdateValidator
}

// set puts a handler into one of the maps.
func set[H any](r *Run, to *map[string]H, name string, h H, unset bool) {
	r.mayCommand("set a handler")
	if *to == nil {
		*to = map[string]H{}
	}
	(*to)[name] = h
	if unset {
		delete(*to, name)
	}
}

// SetSignalHandler sets, or with nil unsets, the handler of a name, or with no name the dynamic one. Signals that waited for
// it are handed over in order: to a name's handler at once, to the dynamic one when all coroutines wait, so that handlers which
// are set after it get theirs.
func (r *Run) SetSignalHandler(name string, fn SignalHandler) {
	set(r, &r.names.signals, name, fn, fn == nil)
	if name == "" || fn == nil {
		return
	}
	waiting := r.inbox
	r.inbox = nil
	for _, s := range waiting {
		if s.SignalName == name {
			r.signal(s)
		} else {
			r.inbox = append(r.inbox, s)
		}
	}
}

// someLate says whether messages wait for all coroutines to wait, and will start handlers then.
func (r *Run) someLate() bool {
	return len(r.late) > 0 || r.names.signals[""] != nil && len(r.inbox) > 0
}

// settleLate hands over what found no handler at first: it is true when something was.
func (r *Run) settleLate() bool {
	updates, signals := r.late, []*historypb.WorkflowExecutionSignaledEventAttributes(nil)
	r.late = nil
	if r.names.signals[""] != nil {
		signals, r.inbox = r.inbox, nil
	}
	for _, s := range signals {
		r.signal(s)
	}
	for _, u := range updates {
		r.startUpdate(u)
	}
	return len(updates)+len(signals) > 0
}

// SetQueryHandler sets, or with nil unsets, the handler of a name, or with no name the dynamic one.
func (r *Run) SetQueryHandler(name string, fn QueryHandler) {
	set(r, &r.names.queries, name, fn, fn == nil)
}

// SetUpdateHandler sets, or with nil unsets, the handler of a name, or with no name the dynamic one.
func (r *Run) SetUpdateHandler(name string, fn UpdateHandler, validator UpdateValidator) {
	set(r, &r.names.updates, name, runtimeUpdate{fn, validator}, fn == nil)
}

// signal hands one over to its handler, or keeps it.
func (r *Run) signal(s *historypb.WorkflowExecutionSignaledEventAttributes) {
	if r.initFailed { // there is no state to handle it with
		r.inbox = append(r.inbox, s)
		return
	}
	fn, h := r.names.signals[s.SignalName], r.def.Signals[s.SignalName]
	if fn == nil && h == nil {
		fn = r.names.signals[""]
	}
	if fn == nil && h == nil {
		h = r.def.DynamicSignal
	}
	switch {
	case fn != nil:
		r.startSignal(s, r.def.AbandonUnfinished, func(ctx Context) error {
			return fn(ctx, s.SignalName, converter.NewArgs(r.Env.Converter, s.Input))
		})
		return
	case h == nil:
		r.inbox = append(r.inbox, s)
		return
	}
	args, err := r.arguments(h, s.Input, s.SignalName)
	if err != nil {
		r.Log().Error("signal dropped: its arguments cannot be decoded", "signal", s.SignalName, "error", err)
		r.Metrics().Counter(metrics.CorruptedSignals).Add(1)
		return
	}
	r.startSignal(s, h.AbandonUnfinished, func(ctx Context) error {
		h.Func.Call(append([]reflect.Value{r.object, reflect.ValueOf(ctx)}, args...))
		return nil
	})
}

func (r *Run) startSignal(s *historypb.WorkflowExecutionSignaledEventAttributes, abandon bool, fn func(Context) error) {
	d := &delivery{
		working: working{kind: "signal", name: s.SignalName, abandon: abandon},
		call:    Call{Kind: CallSignal, Name: s.SignalName, Header: s.Header.GetFields(), Args: converter.NewArgs(r.Env.Converter, s.Input)},
	}
	d.scope.init(r, r.root)
	d.scope.header, d.scope.work, d.context.s = d.call.Header, &d.working, &d.scope
	r.begun(&d.working)
	r.sched.Go("signal", s.SignalName, func() {
		err := r.handle(&d.context, &d.call, fn)
		r.finished(&d.working)
		if err != nil {
			r.main.Resolve(nil, err)
		}
	})
}

// delivery is what a message's handler runs with, in one piece: there may be many.
type delivery struct {
	working working
	context context
	scope   scope
	call    Call
}

func (r *Run) begun(w *working) {
	r.working = append(r.working, w)
	r.atWork++
}

func (r *Run) finished(w *working) {
	w.done = true
	r.atWork--
	// Those that are done go in one sweep when they are the most, so that many at once cost no more than few.
	if len(r.working) >= 2*r.atWork {
		r.working = slices.DeleteFunc(r.working, func(o *working) bool { return o.done })
	}
}

// drainedContext is a Drained.
type drainedContext struct{ Context }

func (drainedContext) drained() {}

// Drain waits until no handler is at work besides the one that ctx may belong to, and those that may be abandoned.
func Drain(ctx Context) (Drained, error) {
	r := ctx.run()
	if w := ctx.scope().work; w != nil {
		w.draining = true // two that drain do not wait for each other
	}
	if err := Await(ctx, func() bool { return !r.someLate() && len(r.others(ctx)) == 0 }); err != nil {
		return nil, err
	}
	return drainedContext{ctx}, nil
}

// others are the handlers at work besides that of ctx.
func (r *Run) others(ctx Context) []string {
	var names []string
	if r.atWork == 0 {
		return nil
	}
	for _, w := range r.working {
		if !w.done && !w.abandon && !w.draining && w != ctx.scope().work {
			names = append(names, w.kind+" "+w.name)
		}
	}
	return names
}

// CheckDrained fails the task when somebody waited between Drain and what it was for.
func CheckDrained(ctx Drained) {
	if names := ctx.run().others(ctx); len(names) > 0 {
		panic(&violation{fmt.Sprintf("handlers are at work that began after Drain (%s): call Drain again before this", strings.Join(names, ", "))})
	}
}

// AllHandlersFinished says whether no signal or update handler is at work.
func (r *Run) AllHandlersFinished() bool { return r.atWork == 0 }

// arguments decodes what a handler takes.
func (r *Run) arguments(h *handlers.Handler, ps *commonpb.Payloads, name string) ([]reflect.Value, error) {
	if h.Dynamic {
		args := reflect.ValueOf(converter.NewArgs(r.Env.Converter, ps))
		if h.Kind == handlers.Run || h.Kind == handlers.Init {
			return []reflect.Value{args}, nil
		}
		return []reflect.Value{reflect.ValueOf(name), args}, nil
	}
	values := make([]reflect.Value, len(h.Params))
	ptrs := make([]any, len(h.Params))
	for i, t := range h.Params {
		p := reflect.New(t)
		values[i], ptrs[i] = p.Elem(), p.Interface()
	}
	return values, r.decode(ps, ptrs...)
}

// result takes a handler's answer apart.
func result(h *handlers.Handler, out []reflect.Value) (any, error) {
	var err error
	if h.HasError {
		err, _ = out[len(out)-1].Interface().(error)
	}
	if h.Result != nil {
		return out[0].Interface(), err
	}
	return nil, err
}

// incoming is an update on its way to its handler.
type incoming struct {
	request   *updatepb.Request
	message   *protocolpb.Message // nil on replay
	after     int64               // the event after which it comes
	requestID string
}

// updatesOf collects the updates of an activation in their order: from messages when live, from the events they made on
// replay.
func (r *Run) updatesOf(a *replay.Activation, task *Task) []*incoming {
	var updates []*incoming
	for _, e := range a.Commands {
		accepted := e.GetWorkflowExecutionUpdateAcceptedEventAttributes()
		if accepted == nil || accepted.AcceptedRequest == nil {
			continue // without a request it came by UpdateAdmitted
		}
		updates = append(updates, &incoming{request: accepted.AcceptedRequest, after: accepted.AcceptedRequestSequencingEventId})
	}
	if task == nil || a.Replay {
		return updates
	}
	for _, m := range task.Messages {
		request := &updatepb.Request{}
		if err := m.Body.UnmarshalTo(request); err != nil {
			panic(fmt.Errorf("message %s: %w", m.Id, err))
		}
		updates = append(updates, &incoming{request: request, message: m, after: m.GetEventId()})
		if r.inMessages == nil {
			r.inMessages = map[string]bool{}
		}
		r.inMessages[request.GetMeta().GetUpdateId()] = true
	}
	return updates
}

// admitted is an update that history brings: one that a reset keeps. No message comes with it, but the server wants to hear of one.
func (r *Run) admitted(e *historypb.HistoryEvent) {
	request := e.GetWorkflowExecutionUpdateAdmittedEventAttributes().GetRequest()
	u := &incoming{request: request, after: e.EventId}
	if id := request.GetMeta().GetUpdateId(); !r.replaying {
		if r.inMessages[id] {
			return
		}
		u.message = &protocolpb.Message{Id: id + "/request", ProtocolInstanceId: id, SequencingId: &protocolpb.Message_EventId{EventId: e.EventId}}
	}
	r.update(u)
}

// deliverUpdates hands over those that come before an event.
func (r *Run) deliverUpdates(updates []*incoming, before int64) []*incoming {
	for len(updates) > 0 && updates[0].after < before {
		r.update(updates[0])
		updates = updates[1:]
	}
	return updates
}

// updateHandler is what takes the updates of a name: its methods, or what was set at run time.
type updateHandler struct {
	static  *handlers.Handler
	runtime runtimeUpdate
}

func (r *Run) updateHandler(name string) (h updateHandler, ok bool) {
	if h.runtime, ok = r.names.updates[name]; ok {
		return h, true
	}
	if h.static = r.def.Updates[name]; h.static != nil {
		return h, true
	}
	if h.runtime, ok = r.names.updates[""]; ok {
		return h, true
	}
	h.static = r.def.DynamicUpdate
	return h, h.static != nil
}

// update starts the handler, or leaves it for the end of the activation: code may have set it by then.
func (r *Run) update(u *incoming) {
	if r.initFailed {
		if u.message != nil {
			r.reject(u, r.main.err)
		}
		return
	}
	if _, ok := r.updateHandler(u.request.GetInput().GetName()); !ok {
		r.late = append(r.late, u)
		return
	}
	r.startUpdate(u)
}

func (r *Run) startUpdate(u *incoming) {
	id, name := u.request.GetMeta().GetUpdateId(), u.request.GetInput().GetName()
	h, ok := r.updateHandler(name)
	if !ok {
		if u.message == nil {
			panic(&replay.NondeterminismError{EventID: r.startedID, Expected: fmt.Sprintf("update %q accepted", name), Actual: "nothing: it has no handler of this name any more"})
		}
		known := slices.Sorted(maps.Keys(r.def.Updates))
		known = append(known, slices.Sorted(maps.Keys(r.names.updates))...)
		r.reject(u, fmt.Errorf("unknown update %s. KnownUpdates=[%s]", name, strings.Join(known, " ")))
		return
	}
	w := &working{kind: "update", name: name, id: id, abandon: r.def.AbandonUnfinished || h.static != nil && h.static.AbandonUnfinished}
	r.begun(w)
	s := r.newScope(r.root)
	s.update, s.header, s.work = &UpdateInfo{ID: id, Name: name}, u.request.GetInput().GetHeader().GetFields(), w
	r.sched.Go("update", name, func() { r.handleUpdate(u, h, w, s) })
}

func (r *Run) handleUpdate(u *incoming, h updateHandler, w *working, s *scope) {
	id, name, input := u.request.GetMeta().GetUpdateId(), u.request.GetInput().GetName(), u.request.GetInput().GetArgs()
	call := &Call{Kind: CallUpdate, Name: name, ID: id, Header: s.header, Args: converter.NewArgs(r.Env.Converter, input)}
	if u.message != nil {
		if err := r.validate(h, *call, s); err != nil {
			r.finished(w)
			r.reject(u, err)
			return
		}
	}
	var args []reflect.Value
	if h.static != nil {
		var err error
		if args, err = r.arguments(h.static, input, name); err != nil {
			panic(fmt.Errorf("decode the arguments of update %s: %w", name, err))
		}
	}
	r.answer(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED, u, "accept", &updatepb.Acceptance{
		AcceptedRequestMessageId: u.message.GetId(), AcceptedRequestSequencingEventId: u.message.GetEventId(), AcceptedRequest: u.request,
	})
	err := r.handle(&context{s: s}, call, func(ctx Context) (err error) {
		if h.static == nil {
			call.Result, err = h.runtime.handler(ctx, name, call.Args)
		} else {
			call.Result, err = result(h.static, h.static.Func.Call(append([]reflect.Value{r.object, reflect.ValueOf(ctx)}, args...)))
		}
		return err
	})
	r.finished(w)
	outcome := &updatepb.Outcome{}
	if err != nil {
		outcome.Value = &updatepb.Outcome_Failure{Failure: r.Env.Failures.ToFailure(err)}
	} else if h.static == nil || h.static.Result != nil {
		outcome.Value = &updatepb.Outcome_Success{Success: r.encode(call.Result)}
	} else {
		outcome.Value = &updatepb.Outcome_Success{Success: &commonpb.Payloads{}}
	}
	r.answer(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED, u, "complete", &updatepb.Response{
		Meta: &updatepb.Meta{UpdateId: id, Identity: u.request.GetMeta().GetIdentity()}, Outcome: outcome,
	})
}

// validate decodes the arguments, anew so that what the validator does to them is not seen, and asks the validator.
func (r *Run) validate(h updateHandler, call Call, s *scope) (err error) {
	var args []reflect.Value
	if h.static != nil {
		if args, err = r.arguments(h.static, call.Args.Payloads(), call.Name); err != nil {
			return err
		}
	}
	// An interceptor may refuse what has no validator.
	if len(r.Env.Interceptors) == 0 && h.runtime.validator == nil && (h.static == nil || h.static.Validator == nil) {
		return nil
	}
	r.readOnly = "a validator may only read"
	defer func() {
		r.readOnly = ""
		if p := recover(); p != nil {
			if v, ok := p.(*violation); ok {
				panic(v)
			}
			err = &failure.PanicError{Value: p, Stack: string(debug.Stack())}
		}
	}()
	call.Kind = CallValidator
	return r.read(&reader{r: r, update: s.update, header: s.header}, &call, func(ctx ReadContext) error {
		switch {
		case h.runtime.validator != nil:
			return h.runtime.validator(ctx, call.Name, call.Args)
		case h.static == nil || h.static.Validator == nil:
			return nil
		}
		v := h.static.Validator
		_, err := result(v, v.Func.Call(append([]reflect.Value{r.object, reflect.ValueOf(ctx)}, args...)))
		return err
	})
}

// answer sends an acceptance or a response in the place of a command.
func (r *Run) answer(want enumspb.EventType, u *incoming, step string, body proto.Message) {
	id := u.request.GetMeta().GetUpdateId()
	messageID := id + "/" + step
	c := r.command(&commandpb.Command{
		CommandType: enumspb.COMMAND_TYPE_PROTOCOL_MESSAGE,
		Attributes: &commandpb.Command_ProtocolMessageCommandAttributes{
			ProtocolMessageCommandAttributes: &commandpb.ProtocolMessageCommandAttributes{MessageId: messageID},
		},
	}, id, nil)
	c.Want = want
	if !r.replaying {
		r.send(id, messageID, body)
	}
}

func (r *Run) reject(u *incoming, err error) {
	id := u.request.GetMeta().GetUpdateId()
	r.send(id, id+"/reject", &updatepb.Rejection{
		RejectedRequestMessageId: u.message.GetId(), RejectedRequestSequencingEventId: u.message.GetEventId(),
		RejectedRequest: u.request, Failure: r.Env.Failures.ToFailure(err),
	})
}

func (r *Run) send(instance, id string, body proto.Message) {
	packed, err := anypb.New(body)
	if err != nil {
		panic(err)
	}
	r.messages = append(r.messages, &protocolpb.Message{Id: id, ProtocolInstanceId: instance, Body: packed})
}

// Query answers a query. It leaves the run as it is.
func (r *Run) Query(q *querypb.WorkflowQuery) (out *commonpb.Payloads, err error) {
	r.readOnly = "a query may only read"
	defer func() {
		r.readOnly = ""
		if p := recover(); p != nil {
			out, err = nil, &failure.PanicError{Value: p, Stack: string(debug.Stack())}
		}
	}()
	name := q.QueryType
	switch name {
	case "__stack_trace":
		return converter.ToPayloads(r.Env.Converter, r.Stack())
	case "__temporal_workflow_metadata":
		return converter.ToPayloads(r.Env.Converter, r.metadata())
	case querySchema:
		return converter.ToPayloads(r.Env.Converter, schemaOf(r.def, r.Info.Type))
	}
	fn, h := r.names.queries[name], r.def.Queries[name]
	if fn == nil && h == nil {
		fn = r.names.queries[""]
	}
	if fn == nil && h == nil {
		h = r.def.DynamicQuery
	}
	var args []reflect.Value
	switch {
	case fn != nil:
	case h != nil:
		if args, err = r.arguments(h, q.QueryArgs, name); err != nil {
			return nil, fmt.Errorf("decode the arguments of query %s: %w", name, err)
		}
	default:
		known := append(slices.Sorted(maps.Keys(r.def.Queries)), slices.Sorted(maps.Keys(r.names.queries))...)
		known = append(known, "__stack_trace", "__temporal_workflow_metadata", querySchema)
		return nil, fmt.Errorf("unknown queryType %s. KnownQueryTypes=[%s]", name, strings.Join(known, " "))
	}
	call := &Call{Kind: CallQuery, Name: name, Header: q.Header.GetFields(), Args: converter.NewArgs(r.Env.Converter, q.QueryArgs)}
	err = r.read(&reader{r: r, header: call.Header}, call, func(ctx ReadContext) (err error) {
		if fn != nil {
			call.Result, err = fn(ctx, name, call.Args)
		} else {
			call.Result, err = result(h, h.Func.Call(append([]reflect.Value{r.object, reflect.ValueOf(ctx)}, args...)))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	out, err = converter.ToPayloads(r.Env.Converter, call.Result)
	if out == nil && err == nil {
		out = &commonpb.Payloads{}
	}
	return out, err
}

func (r *Run) metadata() *sdkpb.WorkflowMetadata {
	return &sdkpb.WorkflowMetadata{
		Definition: &sdkpb.WorkflowDefinition{
			Type:              r.Info.Type,
			SignalDefinitions: describe(r.def.Signals, r.def.DynamicSignal, r.names.signals),
			QueryDefinitions:  describe(r.def.Queries, r.def.DynamicQuery, r.names.queries),
			UpdateDefinitions: describe(r.def.Updates, r.def.DynamicUpdate, r.names.updates),
		},
		CurrentDetails: r.details,
	}
}

// describe lists handlers by name; the dynamic one, without a name, is the first.
func describe[H any](static map[string]*handlers.Handler, dynamic *handlers.Handler, runtime map[string]H) []*sdkpb.WorkflowInteractionDefinition {
	named := maps.Clone(static)
	if dynamic != nil {
		named[""] = dynamic
	}
	for name := range runtime {
		named[name] = &handlers.Handler{Dynamic: true, Description: "Set at run time."}
	}
	var all []*sdkpb.WorkflowInteractionDefinition
	for _, name := range slices.Sorted(maps.Keys(named)) {
		h := named[name]
		text := h.Description
		if s := signature(name, h); s != "" && text != "" {
			text += "\n\n" + s
		} else if s != "" {
			text = s
		}
		all = append(all, &sdkpb.WorkflowInteractionDefinition{Name: name, Description: text})
	}
	return all
}

// SetCurrentDetails is what UI and CLI show of the run.
func (r *Run) SetCurrentDetails(text string) { r.details = text }

// init constructs the state, before any handler.
func (r *Run) initialise() error {
	if r.def.Init == nil {
		return nil
	}
	args, err := r.arguments(r.def.Init, r.input(), "")
	if err != nil {
		return fmt.Errorf("decode the arguments of workflow %s: %w", r.Info.Type, err)
	}
	r.readOnly = "an init step may only read"
	defer func() { r.readOnly = "" }()
	ctx := reflect.ValueOf(ReadContext(&reader{r: r}))
	_, err = result(r.def.Init, r.def.Init.Func.Call(append([]reflect.Value{r.object, ctx}, args...)))
	if err != nil {
		r.initFailed = true
		r.main.Resolve(nil, err)
	}
	return nil
}
