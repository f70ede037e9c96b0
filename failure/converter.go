package failure

import (
	"errors"
	"fmt"
	"reflect"

	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/converter"
)

const (
	source         = "GoSDK" // what failures of Go workers carry
	panicType      = "PanicError"
	encodedMessage = "Encoded failure" // stands where a message was moved away
)

// Converter turns errors into failures and back. It must be safe for concurrent use.
type Converter interface {
	// ToFailure is nil for nil. The failure is the caller's.
	ToFailure(err error) *failurepb.Failure
	// FromFailure is nil for nil. It does not change f, and f must not be changed afterwards.
	FromFailure(f *failurepb.Failure) error
}

// Options are what a default converter can be told.
type Options struct {
	// EncodeCommonAttributes moves messages and stack traces into a payload, where a codec can encrypt them.
	EncodeCommonAttributes bool
}

// Default is the converter of the official SDKs. Details are converted with c; nil is the default one. Failures whose
// messages are moved into a payload are understood whatever the options say.
func Default(c converter.Converter, opts Options) Converter {
	if c == nil {
		c = converter.Default()
	}
	return &standard{c: c, opts: opts}
}

// ToFailure is [Default] without options.
func ToFailure(err error, c converter.Converter) *failurepb.Failure {
	return Default(c, Options{}).ToFailure(err)
}

// FromFailure is [Default] without options.
func FromFailure(f *failurepb.Failure, c converter.Converter) error {
	return Default(c, Options{}).FromFailure(f)
}

type standard struct {
	c    converter.Converter
	opts Options
}

// common are the attributes that can be moved into a payload.
type common struct {
	Message    string `json:"message"`
	StackTrace string `json:"stack_trace"`
}

func (s *standard) ToFailure(err error) *failurepb.Failure {
	if err == nil {
		return nil
	}
	if r, ok := err.(interface{ origin() *received }); ok && r.origin().proto != nil {
		return proto.Clone(r.origin().proto).(*failurepb.Failure)
	}
	f := &failurepb.Failure{Source: source}
	s.fill(f, err)
	f.Cause = s.ToFailure(errors.Unwrap(err))
	if s.opts.EncodeCommonAttributes {
		s.encodeCommon(f)
	}
	return f
}

// fill sets all but the cause.
func (s *standard) fill(f *failurepb.Failure, err error) {
	switch e := err.(type) {
	case *ApplicationError:
		f.Message = e.Message
		f.FailureInfo = s.application(f, e)
	case *CanceledError:
		f.Message = e.message()
		f.FailureInfo = &failurepb.Failure_CanceledFailureInfo{CanceledFailureInfo: &failurepb.CanceledFailureInfo{
			Details: s.details(f, e.Details),
		}}
	case *TimeoutError:
		f.Message = e.Message
		f.FailureInfo = &failurepb.Failure_TimeoutFailureInfo{TimeoutFailureInfo: &failurepb.TimeoutFailureInfo{
			TimeoutType: e.Kind, LastHeartbeatDetails: s.details(f, e.LastHeartbeat),
		}}
	case *TerminatedError:
		f.Message = e.message()
		f.FailureInfo = &failurepb.Failure_TerminatedFailureInfo{TerminatedFailureInfo: &failurepb.TerminatedFailureInfo{}}
	case *ServerError:
		f.Message = e.Message
		f.FailureInfo = &failurepb.Failure_ServerFailureInfo{ServerFailureInfo: &failurepb.ServerFailureInfo{NonRetryable: e.NonRetryable}}
	case *ActivityError:
		f.Message = e.message()
		f.FailureInfo = activity(e)
	case *ChildWorkflowError:
		f.Message = e.message()
		f.FailureInfo = childWorkflow(e)
	case *PanicError:
		f.Message, f.StackTrace = e.message(), e.Stack
		f.FailureInfo = &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{
			Type: panicType, NonRetryable: e.NonRetryable,
		}}
	case *NexusOperationError:
		f.Message = e.message()
		f.FailureInfo = nexusOperation(e)
	case *NexusHandlerError:
		f.Message = e.Message
		f.FailureInfo = &failurepb.Failure_NexusHandlerFailureInfo{NexusHandlerFailureInfo: &failurepb.NexusHandlerFailureInfo{
			Type: e.Type, RetryBehavior: e.RetryBehavior,
		}}
	default:
		f.Message = err.Error()
		f.FailureInfo = &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{
			Type: goType(err),
		}}
	}
}

func (s *standard) application(f *failurepb.Failure, e *ApplicationError) *failurepb.Failure_ApplicationFailureInfo {
	info := &failurepb.ApplicationFailureInfo{
		Type: e.Type, NonRetryable: e.NonRetryable, Details: s.details(f, e.Details), Category: e.Category,
	}
	if e.NextRetryDelay != 0 {
		info.NextRetryDelay = durationpb.New(e.NextRetryDelay)
	}
	return &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: info}
}

func activity(e *ActivityError) *failurepb.Failure_ActivityFailureInfo {
	return &failurepb.Failure_ActivityFailureInfo{ActivityFailureInfo: &failurepb.ActivityFailureInfo{
		ScheduledEventId: e.ScheduledEventID,
		StartedEventId:   e.StartedEventID,
		Identity:         e.Identity,
		ActivityType:     &commonpb.ActivityType{Name: e.ActivityType},
		ActivityId:       e.ActivityID,
		RetryState:       e.RetryState,
	}}
}

func childWorkflow(e *ChildWorkflowError) *failurepb.Failure_ChildWorkflowExecutionFailureInfo {
	return &failurepb.Failure_ChildWorkflowExecutionFailureInfo{ChildWorkflowExecutionFailureInfo: &failurepb.ChildWorkflowExecutionFailureInfo{
		Namespace:         e.Namespace,
		WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: e.WorkflowID, RunId: e.RunID},
		WorkflowType:      &commonpb.WorkflowType{Name: e.WorkflowType},
		InitiatedEventId:  e.InitiatedEventID,
		StartedEventId:    e.StartedEventID,
		RetryState:        e.RetryState,
	}}
}

// nexusOperation writes the token under its old name as well, for receivers that know no other.
func nexusOperation(e *NexusOperationError) *failurepb.Failure_NexusOperationExecutionFailureInfo {
	return &failurepb.Failure_NexusOperationExecutionFailureInfo{NexusOperationExecutionFailureInfo: &failurepb.NexusOperationFailureInfo{
		ScheduledEventId: e.ScheduledEventID,
		Endpoint:         e.Endpoint,
		Service:          e.Service,
		Operation:        e.Operation,
		OperationId:      e.OperationToken,
		OperationToken:   e.OperationToken,
	}}
}

// details encodes v. Details that cannot be encoded must not cost the failure itself: the message says what is missing.
func (s *standard) details(f *failurepb.Failure, v converter.Value) *commonpb.Payloads {
	ps, err := v.Encode(s.c)
	if err != nil {
		f.Message = fmt.Sprintf("%s [details are missing: %v]", f.Message, err)
		return nil
	}
	return ps
}

// encodeCommon leaves nothing in the clear, even when encoding fails: then the text is lost, not disclosed.
func (s *standard) encodeCommon(f *failurepb.Failure) {
	p, err := s.c.ToPayload(common{Message: f.Message, StackTrace: f.StackTrace})
	if err == nil {
		f.EncodedAttributes = p
	}
	f.Message, f.StackTrace = encodedMessage, ""
}

// goType names a plain Go error: its type's name without package and pointer, and nothing for errors.New.
func goType(err error) string {
	t := reflect.TypeOf(err)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Name() == "errorString" {
		return ""
	}
	return t.Name()
}

func (s *standard) FromFailure(f *failurepb.Failure) error {
	if f == nil {
		return nil
	}
	text := common{Message: f.GetMessage(), StackTrace: f.GetStackTrace()}
	if p := f.GetEncodedAttributes(); p != nil {
		var encoded common
		if s.c.FromPayload(p, &encoded) == nil { // a payload nobody can read leaves the placeholder
			text = encoded
		}
	}
	return s.typed(f, text, s.FromFailure(f.GetCause()), received{proto: f, stack: text.StackTrace})
}

// typed is the error for f. A failure without a kind, or of one that is newer than this program, is an application
// error without a type.
func (s *standard) typed(f *failurepb.Failure, text common, cause error, r received) error {
	switch i := f.GetFailureInfo().(type) {
	case *failurepb.Failure_ApplicationFailureInfo:
		return s.fromApplication(i.ApplicationFailureInfo, text, cause, r)
	case *failurepb.Failure_CanceledFailureInfo:
		return &CanceledError{Message: text.Message, Details: s.value(i.CanceledFailureInfo.GetDetails()), Cause: cause, received: r}
	case *failurepb.Failure_TimeoutFailureInfo:
		info := i.TimeoutFailureInfo
		return &TimeoutError{Message: text.Message, Kind: info.GetTimeoutType(), LastHeartbeat: s.value(info.GetLastHeartbeatDetails()), Cause: cause, received: r}
	case *failurepb.Failure_TerminatedFailureInfo:
		return &TerminatedError{Message: text.Message, Cause: cause, received: r}
	case *failurepb.Failure_ServerFailureInfo:
		return &ServerError{Message: text.Message, NonRetryable: i.ServerFailureInfo.GetNonRetryable(), Cause: cause, received: r}
	case *failurepb.Failure_ResetWorkflowFailureInfo: // what a run that was reset leaves behind: it is over for good
		details := s.value(i.ResetWorkflowFailureInfo.GetLastHeartbeatDetails())
		return &ApplicationError{Message: text.Message, NonRetryable: true, Details: details, Cause: cause, received: r}
	case *failurepb.Failure_ActivityFailureInfo:
		return fromActivity(i.ActivityFailureInfo, text, cause, r)
	case *failurepb.Failure_ChildWorkflowExecutionFailureInfo:
		return fromChildWorkflow(i.ChildWorkflowExecutionFailureInfo, text, cause, r)
	case *failurepb.Failure_NexusOperationExecutionFailureInfo:
		return fromNexusOperation(i.NexusOperationExecutionFailureInfo, text, cause, r)
	case *failurepb.Failure_NexusHandlerFailureInfo:
		info := i.NexusHandlerFailureInfo
		return &NexusHandlerError{Message: text.Message, Type: info.GetType(), RetryBehavior: info.GetRetryBehavior(), Cause: cause, received: r}
	}
	return &ApplicationError{Message: text.Message, Cause: cause, received: r}
}

func (s *standard) fromApplication(info *failurepb.ApplicationFailureInfo, text common, cause error, r received) error {
	if info.GetType() == panicType {
		return &PanicError{Value: text.Message, Stack: text.StackTrace, NonRetryable: info.GetNonRetryable(), received: r}
	}
	e := &ApplicationError{
		Message:      text.Message,
		Type:         info.GetType(),
		NonRetryable: info.GetNonRetryable(),
		Details:      s.value(info.GetDetails()),
		Category:     info.GetCategory(),
		Cause:        cause,
		received:     r,
	}
	if d := info.GetNextRetryDelay(); d != nil {
		e.NextRetryDelay = d.AsDuration()
	}
	return e
}

func fromActivity(info *failurepb.ActivityFailureInfo, text common, cause error, r received) error {
	return &ActivityError{
		Message:          text.Message,
		ActivityID:       info.GetActivityId(),
		ActivityType:     info.GetActivityType().GetName(),
		Identity:         info.GetIdentity(),
		ScheduledEventID: info.GetScheduledEventId(),
		StartedEventID:   info.GetStartedEventId(),
		RetryState:       info.GetRetryState(),
		Cause:            cause,
		received:         r,
	}
}

func fromChildWorkflow(info *failurepb.ChildWorkflowExecutionFailureInfo, text common, cause error, r received) error {
	return &ChildWorkflowError{
		Message:          text.Message,
		Namespace:        info.GetNamespace(),
		WorkflowID:       info.GetWorkflowExecution().GetWorkflowId(),
		RunID:            info.GetWorkflowExecution().GetRunId(),
		WorkflowType:     info.GetWorkflowType().GetName(),
		InitiatedEventID: info.GetInitiatedEventId(),
		StartedEventID:   info.GetStartedEventId(),
		RetryState:       info.GetRetryState(),
		Cause:            cause,
		received:         r,
	}
}

func fromNexusOperation(info *failurepb.NexusOperationFailureInfo, text common, cause error, r received) error {
	return &NexusOperationError{
		Message:          text.Message,
		ScheduledEventID: info.GetScheduledEventId(),
		Endpoint:         info.GetEndpoint(),
		Service:          info.GetService(),
		Operation:        info.GetOperation(),
		OperationToken:   or(info.GetOperationToken(), info.GetOperationId()),
		Cause:            cause,
		received:         r,
	}
}

func (s *standard) value(ps *commonpb.Payloads) converter.Value { return converter.NewValue(s.c, ps) }
