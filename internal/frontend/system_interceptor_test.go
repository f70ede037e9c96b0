package frontend

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/namespace"
)

// intercepted calls a handler through the interceptor.
func (a administered) intercepted(ctx context.Context, method string, req any, handler grpc.UnaryHandler) (any, error) {
	i := NewInterceptor(a.namespaces, slog.New(slog.DiscardHandler))
	return i.Unary(ctx, req, &grpc.UnaryServerInfo{FullMethod: "/temporal.api.workflowservice.v1.WorkflowService/" + method}, handler)
}

// served by a handler that answers anything.
func answering(context.Context, any) (any, error) {
	return &workflowservice.GetSystemInfoResponse{}, nil
}

// dial serves the real services over gRPC, without a network.
func (a administered) dial(t *testing.T, log *slog.Logger) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(grpc.UnaryInterceptor(NewInterceptor(a.namespaces, log).Unary))
	workflowservice.RegisterWorkflowServiceServer(server, a.Service)
	operatorservice.RegisterOperatorServiceServer(server, a.operator)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient("passthrough:///server", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestS6EmptyNamespace(t *testing.T) {
	client := workflowservice.NewWorkflowServiceClient(administer(t, DefaultFeatures()).dial(t, nil))
	for method, call := range namespacedCalls(t.Context(), client, "") {
		if method == "RespondWorkflowTaskCompleted" {
			continue // its token says which
		}
		t.Run(method, func(t *testing.T) { refused(t, call(), codes.InvalidArgument, "Namespace not set on request.") })
	}
}

func TestS7UnknownNamespace(t *testing.T) {
	client := workflowservice.NewWorkflowServiceClient(administer(t, DefaultFeatures()).dial(t, nil))
	for method, call := range namespacedCalls(t.Context(), client, "nope") {
		t.Run(method, func(t *testing.T) {
			svc := refused(t, call(), codes.NotFound, "Namespace nope is not found.")
			if e := (*serviceerror.NamespaceNotFound)(nil); !errors.As(svc, &e) || e.Namespace != "nope" {
				t.Errorf("clients see %#v", svc)
			}
		})
	}
}

func namespacedCalls(ctx context.Context, c workflowservice.WorkflowServiceClient, ns string) map[string]func() error {
	return map[string]func() error{
		"StartWorkflowExecution": func() error {
			_, err := c.StartWorkflowExecution(ctx, &workflowservice.StartWorkflowExecutionRequest{Namespace: ns})
			return err
		},
		"DescribeWorkflowExecution": func() error {
			_, err := c.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: ns})
			return err
		},
		"ListWorkflowExecutions": func() error {
			_, err := c.ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: ns})
			return err
		},
		"PollWorkflowTaskQueue": func() error {
			_, err := c.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{Namespace: ns})
			return err
		},
		"RespondWorkflowTaskCompleted": func() error {
			_, err := c.RespondWorkflowTaskCompleted(ctx, &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: ns})
			return err
		},
		"DescribeNamespace": func() error {
			_, err := c.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: ns})
			return err
		},
		"UpdateNamespace": func() error {
			_, err := c.UpdateNamespace(ctx, &workflowservice.UpdateNamespaceRequest{Namespace: ns})
			return err
		},
	}
}

func TestS12UnimplementedMethods(t *testing.T) {
	conn := administer(t, DefaultFeatures()).dial(t, nil)
	_, err := workflowservice.NewWorkflowServiceClient(conn).FetchWorkerConfig(t.Context(), &workflowservice.FetchWorkerConfigRequest{Namespace: "default"})
	refused(t, err, codes.Unimplemented, "method FetchWorkerConfig not implemented")
	_, err = operatorservice.NewOperatorServiceClient(conn).CreateNexusEndpoint(t.Context(), &operatorservice.CreateNexusEndpointRequest{})
	refused(t, err, codes.Unimplemented, "method CreateNexusEndpoint not implemented")
	err = conn.Invoke(t.Context(), "/temporal.api.workflowservice.v1.WorkflowService/FromTheFuture",
		&workflowservice.GetSystemInfoRequest{}, &workflowservice.GetSystemInfoResponse{})
	if st := status.Convert(err); st.Code() != codes.Unimplemented || !strings.Contains(st.Message(), "FromTheFuture") {
		t.Errorf("got %v", err)
	}
}

func TestS205RegisteredNamespaceIsUsableAtOnce(t *testing.T) {
	client := workflowservice.NewWorkflowServiceClient(administer(t, DefaultFeatures()).dial(t, nil))
	_, err := client.RegisterNamespace(t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: "new", WorkflowExecutionRetentionPeriod: durationpb.New(namespace.MinRetention),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.FetchWorkerConfig(t.Context(), &workflowservice.FetchWorkerConfigRequest{Namespace: "new"})
	if status.Code(err) != codes.Unimplemented { // past the namespace
		t.Errorf("got %v", err)
	}
}

func TestS209NamespaceStateIsChecked(t *testing.T) {
	a := administer(t, DefaultFeatures())
	states := map[string]enumspb.NamespaceState{
		"registered": enumspb.NAMESPACE_STATE_REGISTERED,
		"deprecated": enumspb.NAMESPACE_STATE_DEPRECATED,
		"deleted":    enumspb.NAMESPACE_STATE_DELETED,
	}
	for name, state := range states {
		a.register(t, name)
		if _, err := a.namespaces.Update(t.Context(), name, namespace.Change{State: state}); err != nil {
			t.Fatal(err)
		}
	}
	starts := map[string]func(ns string) any{
		"StartWorkflowExecution":           func(ns string) any { return &workflowservice.StartWorkflowExecutionRequest{Namespace: ns} },
		"SignalWithStartWorkflowExecution": func(ns string) any { return &workflowservice.SignalWithStartWorkflowExecutionRequest{Namespace: ns} },
		"ExecuteMultiOperation":            func(ns string) any { return &workflowservice.ExecuteMultiOperationRequest{Namespace: ns} },
	}
	others := map[string]func(ns string) any{
		"DescribeWorkflowExecution": func(ns string) any { return &workflowservice.DescribeWorkflowExecutionRequest{Namespace: ns} },
		"SignalWorkflowExecution":   func(ns string) any { return &workflowservice.SignalWorkflowExecutionRequest{Namespace: ns} },
		"PollWorkflowTaskQueue":     func(ns string) any { return &workflowservice.PollWorkflowTaskQueueRequest{Namespace: ns} },
	}
	check := func(method string, req any, name string, ok bool) {
		t.Run(method+" "+name, func(t *testing.T) {
			resp, err := a.intercepted(t.Context(), method, req, answering)
			if ok {
				if err != nil || resp == nil {
					t.Fatalf("got %v, %v", resp, err)
				}
				return
			}
			svc := serviceerror.FromStatus(status.Convert(err))
			var e *serviceerror.NamespaceInvalidState
			if status.Code(err) != codes.FailedPrecondition || !errors.As(svc, &e) || e.Namespace != name || e.State != states[name] || len(e.AllowedStates) == 0 {
				t.Fatalf("got %v, %#v", err, svc)
			}
		})
	}
	for name := range states {
		for method, req := range starts {
			check(method, req(name), name, name == "registered")
		}
		for method, req := range others {
			check(method, req(name), name, name != "deleted")
		}
		check("DescribeNamespace", &workflowservice.DescribeNamespaceRequest{Namespace: name}, name, true)
	}
}

func TestTokensMayStandForNamespaces(t *testing.T) {
	a := administer(t, DefaultFeatures())
	for _, req := range []any{
		&workflowservice.RespondWorkflowTaskCompletedRequest{}, &workflowservice.RespondWorkflowTaskFailedRequest{},
		&workflowservice.RespondActivityTaskCompletedRequest{}, &workflowservice.RespondActivityTaskFailedRequest{},
		&workflowservice.RespondActivityTaskCanceledRequest{}, &workflowservice.RecordActivityTaskHeartbeatRequest{},
		&workflowservice.RespondQueryTaskCompletedRequest{}, &workflowservice.GetSystemInfoRequest{},
	} {
		if _, err := a.intercepted(t.Context(), "X", req, answering); err != nil {
			t.Errorf("%T: %v", req, err)
		}
	}
	_, err := a.intercepted(t.Context(), "X", &workflowservice.RespondActivityTaskCompletedByIdRequest{}, answering)
	refused(t, err, codes.InvalidArgument, "Namespace not set on request.")
}

func TestPanicsAndOtherFaultsAreMaskedAndLogged(t *testing.T) {
	a := administer(t, DefaultFeatures())
	var nothing *workflowservice.GetSystemInfoResponse
	for name, handler := range map[string]grpc.UnaryHandler{
		"panic":        func(context.Context, any) (any, error) { panic("secret") },
		"error":        func(context.Context, any) (any, error) { return nil, errors.New("secret") },
		"mapped error": func(context.Context, any) (any, error) { return nil, toStatus(errors.New("secret")) },
		"nil":          func(context.Context, any) (any, error) { return nil, nil },
		"typed nil":    func(context.Context, any) (any, error) { return nothing, nil },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			i := NewInterceptor(a.namespaces, slog.New(slog.NewTextHandler(&log, nil)))
			resp, err := i.Unary(t.Context(), &workflowservice.GetSystemInfoRequest{}, &grpc.UnaryServerInfo{FullMethod: "/s/M"}, handler)
			st := status.Convert(err)
			found := regexp.MustCompile(`^something went wrong, please retry \(([0-9a-f]{8})\)$`).FindStringSubmatch(st.Message())
			if resp != nil || st.Code() != codes.Internal || found == nil {
				t.Fatalf("got %v, %v", resp, err)
			}
			line := log.String()
			if !strings.Contains(line, "hash="+found[1]) || !strings.Contains(line, "method=/s/M") {
				t.Errorf("logged %q", line)
			}
			if strings.Contains(name, "nil") {
				return
			}
			if !strings.Contains(line, "secret") {
				t.Errorf("logged without the reason: %q", line)
			}
			if name == "panic" && !strings.Contains(line, "goroutine") {
				t.Errorf("logged without a stack: %q", line)
			}
		})
	}
}

func TestOnlyFaultsAreLogged(t *testing.T) {
	var log bytes.Buffer
	a := administer(t, DefaultFeatures())
	client := workflowservice.NewWorkflowServiceClient(a.dial(t, slog.New(slog.NewTextHandler(&log, nil))))
	_, err := client.DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: "nope"})
	refused(t, err, codes.NotFound, "Namespace nope is not found.")
	if log.Len() != 0 {
		t.Errorf("logged %s", log.String())
	}
}

// exhaustedService refuses one call, to see the headers that go with it.
type exhaustedService struct {
	workflowservice.UnimplementedWorkflowServiceServer
}

func (exhaustedService) GetSystemInfo(context.Context, *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	return nil, &execution.Error{Kind: execution.ResourceExhausted, Message: "m", Cause: enumspb.RESOURCE_EXHAUSTED_CAUSE_RPS_LIMIT}
}

func TestResourceExhaustedHasHeaders(t *testing.T) {
	a := administer(t, DefaultFeatures())
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer(grpc.UnaryInterceptor(NewInterceptor(a.namespaces, nil).Unary))
	workflowservice.RegisterWorkflowServiceServer(server, exhaustedService{})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	defer func() { server.Stop(); <-done }()
	conn, err := grpc.NewClient("passthrough:///server", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var header metadata.MD
	_, err = workflowservice.NewWorkflowServiceClient(conn).GetSystemInfo(t.Context(), &workflowservice.GetSystemInfoRequest{}, grpc.Header(&header))
	refused(t, err, codes.ResourceExhausted, "m")
	for key, want := range map[string]string{headerExhaustedCause: "RpsLimit", headerExhaustedScope: "Namespace"} {
		if got := header.Get(key); len(got) != 1 || got[0] != want {
			t.Errorf("%s is %v, want %s", key, got, want)
		}
	}
	if headers := exhaustedHeaders(status.New(codes.NotFound, "m")); headers != nil {
		t.Errorf("other errors have %v", headers)
	}
}
