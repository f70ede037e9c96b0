package frontend

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
)

func TestS2SystemInfo(t *testing.T) {
	resp, err := administer(t, DefaultFeatures()).GetSystemInfo(t.Context(), &workflowservice.GetSystemInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if resp.GetServerVersion() != "1.32.0" {
		t.Errorf("server_version %q", resp.GetServerVersion())
	}
	want := &workflowservice.GetSystemInfoResponse_Capabilities{
		SignalAndQueryHeader: true, InternalErrorDifferentiation: true, ActivityFailureIncludeHeartbeat: true,
		EncodedFailureAttributes: true, UpsertMemo: true, EagerWorkflowStart: true, SdkMetadata: true,
		BuildIdBasedVersioning: true, CountGroupByExecutionStatus: true,
		SupportsSchedules: DefaultFeatures().Schedules, // true once they are served: see the next test
	}
	if diff := cmp.Diff(want, resp.GetCapabilities(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

// Every flag must be reachable from Features, or a feature could be served and not be told.
func TestEveryCapabilityComesFromFeatures(t *testing.T) {
	var all Features
	v := reflect.ValueOf(&all).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Bool {
			f.SetBool(true)
		}
	}
	for _, told := range []proto.Message{all.system(), all.namespace()} {
		m := told.ProtoReflect()
		fields := m.Descriptor().Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			// Only of use with server_scaled_deployments, of which it is a detail.
			if f.Kind() == protoreflect.BoolKind && !m.Get(f).Bool() && f.Name() != "server_scaled_provider_cloud_run" {
				t.Errorf("%s cannot be told", f.FullName())
			}
		}
	}
	if none := (new(Features)).system(); proto.Size(none) != 0 {
		t.Errorf("the zero value promises %v", none)
	}
	if none := (new(Features)).namespace(); proto.Size(none) != 0 {
		t.Errorf("the zero value promises %v", none)
	}
}

// What DefaultFeatures promises has a handler of its own.
func TestFeaturesPromiseOnlyWhatIsServed(t *testing.T) {
	a := administer(t, DefaultFeatures())
	f := DefaultFeatures()
	for _, tt := range []struct {
		method   string
		promised bool
	}{
		{"CreateSchedule", f.Schedules},
		{"CountWorkflowExecutions", f.CountGroupByExecutionStatus},
		{"UpdateWorkflowExecution", f.SyncUpdate},
		{"PollWorkflowExecutionUpdate", f.AsyncUpdate},
		{"RecordWorkerHeartbeat", f.WorkerHeartbeats},
		{"PauseWorkflowExecution", f.WorkflowPause},
		{"StartActivityExecution", f.StandaloneActivities},
		{"PauseActivityExecution", f.StandaloneActivityOperatorCommands},
		{"StartNexusOperationExecution", f.StandaloneNexusOperations},
		{"StartWorkflowExecution", f.EagerWorkflowStart},
		{"SignalWorkflowExecution", f.SignalAndQueryHeader},
		{"RespondActivityTaskFailed", f.ActivityFailureIncludeHeartbeat},
		{"ShutdownWorker", f.WorkerPollCompleteOnShutdown},
	} {
		if tt.promised && !served(t, a.Service, tt.method) {
			t.Errorf("promised without %s", tt.method)
		}
	}
	if _, err := a.operator.CreateNexusEndpoint(t.Context(), &operatorservice.CreateNexusEndpointRequest{}); f.Nexus && status.Code(err) == codes.Unimplemented {
		t.Error("Nexus is promised without endpoints")
	}
}

// served tells whether a method is more than the generated one. An empty request may well be refused, or panic for want
// of an engine: both are signs of life.
func served(t *testing.T, s *Service, method string) (yes bool) {
	t.Helper()
	m := reflect.ValueOf(s).MethodByName(method)
	if !m.IsValid() {
		t.Fatalf("there is no method %s", method)
	}
	defer func() {
		if recover() != nil {
			yes = true
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := m.Call([]reflect.Value{reflect.ValueOf(ctx), reflect.New(m.Type().In(1).Elem())})
	err, _ := out[1].Interface().(error)
	return status.Code(err) != codes.Unimplemented
}

func TestS4ClusterInfo(t *testing.T) {
	features := DefaultFeatures()
	features.Server = ServerInfo{Version: "0.1.0", PersistenceStore: "pebble", VisibilityStore: "pebble"}
	a := administer(t, features)
	resp, err := a.GetClusterInfo(t.Context(), &workflowservice.GetClusterInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if uuid.Validate(resp.GetClusterId()) != nil || resp.GetClusterName() != "active" || resp.GetServerVersion() != "1.32.0" {
		t.Errorf("ID %q, name %q, version %q", resp.GetClusterId(), resp.GetClusterName(), resp.GetServerVersion())
	}
	clients := map[string]string{
		"temporal-go": "<2.0.0", "temporal-java": "<2.0.0", "temporal-php": "<2.0.0", "temporal-typescript": "<2.0.0",
		"temporal-cli": "<2.0.0", "temporal-server": "<2.0.0", "temporal-ui": "<3.0.0",
	}
	if diff := cmp.Diff(clients, resp.GetSupportedClients()); diff != "" {
		t.Error(diff)
	}
	own := resp.GetVersionInfo().GetCurrent()
	if own.GetVersion() != "0.1.0" || !strings.Contains(own.GetNotes(), "Perdure") {
		t.Errorf("our own version is told as %v", own)
	}
	if resp.GetPersistenceStore() != "pebble" || resp.GetVisibilityStore() != "pebble" || resp.GetHistoryShardCount() != 1024 {
		t.Errorf("stores %q and %q, %d shards", resp.GetPersistenceStore(), resp.GetVisibilityStore(), resp.GetHistoryShardCount())
	}
	if resp.GetInitialFailoverVersion() != 1 || resp.GetFailoverVersionIncrement() != 10 {
		t.Errorf("failover versions from %d by %d", resp.GetInitialFailoverVersion(), resp.GetFailoverVersionIncrement())
	}
}
