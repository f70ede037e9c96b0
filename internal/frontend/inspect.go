package frontend

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	querypb "go.temporal.io/api/query/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/encoding/protojson"

	inspectpb "github.com/perdure/perdure/api/inspect/v1"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/explain"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/taskqueue"
)

const (
	messagesPage    = 100
	messagesPageMax = 1000
	// handlersWait bounds asking a workflow what it has handlers for.
	handlersWait = 2 * time.Second
)

// Inspect implements this project's own InspectService over a Service. Safe for concurrent use.
type Inspect struct {
	inspectpb.UnimplementedInspectServiceServer
	s *Service
}

// NewInspect makes an Inspect.
func NewInspect(s *Service) *Inspect { return &Inspect{s: s} }

// messages puts together what the ledger has of a run (empty: all runs of the workflow ID), the newest message first.
func (i *Inspect) messages(ctx context.Context, key ids.WorkflowKey, run ids.RunID) ([]*explain.Message, error) {
	runs, err := i.s.engine.Ledger(ctx, key, run)
	if err != nil {
		return nil, err
	}
	var all []*explain.Message
	for _, r := range runs {
		all = append(all, explain.Messages(r.Run, r.Notes)...)
	}
	slices.Reverse(all)
	return all, nil
}

// locate finds the events of those messages that were buffered when they came. Only the runs of these few are loaded.
func (i *Inspect) locate(ctx context.Context, key ids.WorkflowKey, messages ...*explain.Message) error {
	for _, m := range messages {
		if m.Event != 0 || m.Kind != execution.NoteSignal {
			continue
		}
		st, err := i.s.engine.State(ctx, key, m.Run)
		if isKind(err, execution.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		m.Locate(st)
	}
	return nil
}

// ListMessages implements InspectService.
func (i *Inspect) ListMessages(ctx context.Context, r *inspectpb.ListMessagesRequest) (*inspectpb.ListMessagesResponse, error) {
	key, run, err := i.target(r.Namespace, r.WorkflowId, r.RunId)
	if err != nil {
		return nil, err
	}
	size := int(r.PageSize)
	switch {
	case size < 0 || size > messagesPageMax:
		return nil, invalid("PageSize is not between 0 and %d.", messagesPageMax)
	case size == 0:
		size = messagesPage
	}
	if _, ok := inspectpb.MessageKind_name[int32(r.Kind)]; !ok {
		return nil, invalid("Invalid MessageKind: %d", r.Kind)
	}
	skip := 0
	if len(r.NextPageToken) > 0 {
		if skip, err = strconv.Atoi(string(r.NextPageToken)); err != nil || skip < 0 {
			return nil, invalid("Invalid NextPageToken.")
		}
	}
	all, err := i.messages(ctx, key, run)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(m *explain.Message) bool {
		return r.Kind != 0 && messageKind(m) != r.Kind || r.Name != "" && m.Name != r.Name
	})
	resp := &inspectpb.ListMessagesResponse{}
	page := all[min(skip, len(all)):min(skip+size, len(all))]
	if err := i.locate(ctx, key, page...); err != nil {
		return nil, err
	}
	for _, m := range page {
		resp.Messages = append(resp.Messages, messageProto(key, m))
	}
	if skip+size < len(all) {
		resp.NextPageToken = []byte(strconv.Itoa(skip + size))
	}
	return resp, nil
}

func (i *Inspect) target(namespace, workflow, run string) (ids.WorkflowKey, ids.RunID, error) {
	n, err := i.s.namespace(namespace)
	if err != nil {
		return ids.WorkflowKey{}, "", err
	}
	return checkExecution(i.s.limits, n.ID, &commonpb.WorkflowExecution{WorkflowId: workflow, RunId: run})
}

// ExplainMessage implements InspectService.
func (i *Inspect) ExplainMessage(ctx context.Context, r *inspectpb.ExplainMessageRequest) (*inspectpb.ExplainMessageResponse, error) {
	key, run, err := i.target(r.Namespace, r.WorkflowId, r.RunId)
	if err != nil {
		return nil, err
	}
	if r.Id == "" && run == "" {
		return nil, invalid("Neither Id nor RunId with Number is set on request.")
	}
	all, err := i.messages(ctx, key, run)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(all, func(m *explain.Message) bool {
		if r.Id != "" {
			return m.ID == r.Id
		}
		return m.Number == r.Number
	})
	if at < 0 {
		what := strconv.Quote(r.Id)
		if r.Id == "" {
			what = "number " + strconv.FormatInt(r.Number, 10)
		}
		return nil, notFound("no message %s is known of workflow %q: it never came here, or it is so old that it is no longer kept", what, key.Workflow)
	}
	m := all[at]
	if err := i.locate(ctx, key, m); err != nil {
		return nil, err
	}
	return &inspectpb.ExplainMessageResponse{
		Message: messageProto(key, m), Sentences: explain.Story(m, i.facts(ctx, r.Namespace, key, m)),
	}, nil
}

// facts are what is known of the message's run by now. What cannot be found out is left out.
func (i *Inspect) facts(ctx context.Context, namespace string, key ids.WorkflowKey, m *explain.Message) explain.Facts {
	var f explain.Facts
	st, err := i.s.engine.State(ctx, key, m.Run)
	if err != nil {
		return f
	}
	f.State = st
	if !st.Open() {
		return f
	}
	f.Report = explain.Workflow(st, i.s.clock.Now(), i.queues(key.Namespace), i.s.limits)
	if m.Kind == execution.NoteSignal && m.Reached(execution.NoteDelivered) {
		f.Handlers = i.handlers(ctx, namespace, st)
	}
	return f
}

// handlers asks the workflow what it has handlers for; nil when no worker answers soon.
func (i *Inspect) handlers(ctx context.Context, namespace string, st *execution.State) *explain.Handlers {
	queue := taskqueue.QueueKey{Namespace: st.Key.Namespace, Type: record.QueueWorkflow, Name: st.Start.TaskQueue}
	if !i.s.polledWithin(queue, pollerWindow) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, handlersWait)
	defer cancel()
	resp, err := i.s.QueryWorkflow(ctx, &workflowservice.QueryWorkflowRequest{
		Namespace: namespace, Execution: executionOf(st.Key), Query: &querypb.WorkflowQuery{QueryType: "__temporal_workflow_metadata"},
	})
	if err != nil || len(resp.GetQueryResult().GetPayloads()) != 1 {
		return nil
	}
	data := resp.QueryResult.Payloads[0].Data
	meta := new(sdkpb.WorkflowMetadata)
	// SDKs whose converter does not know messages send the same as plain JSON.
	if !json.Valid(data) || (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, meta) != nil || meta.Definition == nil {
		return nil
	}
	h := &explain.Handlers{}
	for _, d := range meta.Definition.SignalDefinitions {
		if d.Name == "" {
			h.DynamicSignals = true
		} else {
			h.Signals = append(h.Signals, d.Name)
		}
	}
	return h
}

func (i *Inspect) queues(ns ids.NamespaceID) explain.Queues {
	return func(name string, activity bool) explain.Queue {
		key := taskqueue.QueueKey{Namespace: ns, Type: record.QueueWorkflow, Name: name}
		if activity {
			key.Type = record.QueueActivity
		}
		q := explain.Queue{LastPoll: i.s.queues.LastPoll(key)}
		for _, p := range i.s.queues.Describe(key).Pollers {
			q.Pollers = append(q.Pollers, p.Identity)
		}
		return q
	}
}

// ExplainWorkflow implements InspectService.
func (i *Inspect) ExplainWorkflow(ctx context.Context, r *inspectpb.ExplainWorkflowRequest) (*inspectpb.ExplainWorkflowResponse, error) {
	key, run, err := i.target(r.Namespace, r.WorkflowId, r.RunId)
	if err != nil {
		return nil, err
	}
	st, err := i.s.engine.State(ctx, key, run)
	if err != nil {
		return nil, err
	}
	report := explain.Workflow(st, i.s.clock.Now(), i.queues(key.Namespace), i.s.limits)
	resp := &inspectpb.ExplainWorkflowResponse{WorkflowId: string(key.Workflow), RunId: string(st.Key.Run), Summary: report.Summary}
	for _, f := range report.Findings {
		resp.Findings = append(resp.Findings, &inspectpb.Finding{Code: f.Code, Stuck: f.Stuck, Text: f.Text})
	}
	return resp, nil
}

func messageKind(m *explain.Message) inspectpb.MessageKind {
	switch m.Kind {
	case execution.NoteSignal:
		return inspectpb.MessageKind_MESSAGE_KIND_SIGNAL
	case execution.NoteUpdate:
		return inspectpb.MessageKind_MESSAGE_KIND_UPDATE
	case execution.NoteCancel:
		return inspectpb.MessageKind_MESSAGE_KIND_CANCEL
	}
	return inspectpb.MessageKind_MESSAGE_KIND_UNSPECIFIED
}

func messageProto(key ids.WorkflowKey, m *explain.Message) *inspectpb.Message {
	out := &inspectpb.Message{
		WorkflowId: string(key.Workflow), RunId: string(m.Run), Number: m.Number, Kind: messageKind(m), Id: m.ID, Name: m.Name,
		Identity: m.Identity, FromWorkflowId: string(m.From),
	}
	for _, s := range m.Stages {
		// The numbers of stages are the same in both.
		out.Stages = append(out.Stages, &inspectpb.Stage{
			Stage: inspectpb.MessageStage(s.Stage), Time: s.At.Proto(), Identity: s.Identity, EventId: s.Event, Text: s.Text,
		})
	}
	return out
}
