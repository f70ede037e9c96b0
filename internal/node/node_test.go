package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/operatorservice/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/storage"
	"github.com/perdure/perdure/internal/storage/local"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const anyPort = "127.0.0.1:0"

// running is a node under test with a client.
type running struct {
	*Node
	t    *testing.T
	stop context.CancelFunc
	done chan error
	log  *bytes.Buffer // read it after the node has stopped
}

// start runs a node on free ports until the test ends.
func start(t *testing.T, change func(*Config)) *running {
	t.Helper()
	log := new(bytes.Buffer)
	c := Config{
		GRPC: anyPort, HTTP: anyPort, UI: anyPort,
		Log: slog.New(slog.NewTextHandler(&locked{w: log}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if change != nil {
		change(&c)
	}
	n, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Node: n, t: t, stop: stop, done: make(chan error, 1), log: log}
	go func() { r.done <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
		if strings.Contains(log.String(), "level=ERROR") {
			t.Error(log.String())
		}
	})
	select {
	case <-n.Ready():
	case err := <-r.done:
		r.done <- nil
		t.Fatalf("the node ended before it was ready: %v", err)
	}
	return r
}

// quit stops the node and waits for its end.
func (r *running) quit() {
	r.t.Helper()
	r.stop()
	err := <-r.done
	r.done <- nil
	if err != nil {
		r.t.Fatal(err)
	}
}

// locked is a writer that several goroutines may use.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func (r *running) dial() *grpc.ClientConn {
	r.t.Helper()
	conn, err := grpc.NewClient(r.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (r *running) client() workflowservice.WorkflowServiceClient {
	return workflowservice.NewWorkflowServiceClient(r.dial())
}

func (r *running) get(addr, path string) (int, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.send(request)
}

func (r *running) send(request *http.Request) (int, string) {
	r.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestS1HealthIsToldForEachServiceAndReflectionListsThem(t *testing.T) {
	r := start(t, nil)
	conn := r.dial()
	for _, service := range []string{
		"", "temporal.api.workflowservice.v1.WorkflowService", "temporal.api.operatorservice.v1.OperatorService",
	} {
		got, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || got.Status != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", service, got, err)
		}
	}
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range got.GetListServicesResponse().GetService() {
		names = append(names, s.Name)
	}
	for _, want := range serviceNames[1:] {
		if !slices.Contains(names, want) {
			t.Errorf("reflection lists %v, not %s", names, want)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
}

func TestS2GetSystemInfoOverTheNetwork(t *testing.T) {
	r := start(t, nil)
	got, err := r.client().GetSystemInfo(t.Context(), &workflowservice.GetSystemInfoRequest{}, grpc.UseCompressor(gzip.Name))
	if err != nil {
		t.Fatal(err)
	}
	if c := got.GetCapabilities(); !c.GetSignalAndQueryHeader() || !c.GetSdkMetadata() || got.GetServerVersion() == "" {
		t.Errorf("got %v", got)
	}
}

func TestTooLargeAMessageIsRefusedInGRPCsOwnWords(t *testing.T) {
	r := start(t, nil)
	_, err := r.client().GetSystemInfo(t.Context(), &workflowservice.GetSystemInfoRequest{}) // connect
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.client().StartWorkflowExecution(t.Context(), &workflowservice.StartWorkflowExecutionRequest{
		Identity: strings.Repeat("x", 5<<20),
	})
	if status.Code(err) != codes.ResourceExhausted ||
		!strings.HasPrefix(status.Convert(err).Message(), "grpc: received message larger than max") {
		t.Errorf("got %v", err)
	}
}

func TestUnknownMethodsAnswerUnimplemented(t *testing.T) {
	r := start(t, nil)
	_, err := r.client().CreateSchedule(t.Context(), &workflowservice.CreateScheduleRequest{Namespace: "default"})
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "CreateSchedule") {
		t.Errorf("got %v", err)
	}
}

func TestGatewayServesNamespacesUnderBothPrefixesOnBothPorts(t *testing.T) {
	r := start(t, func(c *Config) { c.Namespaces = []string{"orders"} })
	for _, url := range []struct{ addr, path string }{
		{r.HTTPAddr(), "/api/v1/namespaces"}, {r.HTTPAddr(), "/cluster/namespaces"}, {r.UIAddr(), "/api/v1/namespaces"},
	} {
		code, body := r.get(url.addr, url.path)
		var got struct {
			Namespaces []struct{ NamespaceInfo struct{ Name, State string } }
		}
		if err := json.Unmarshal([]byte(body), &got); code != http.StatusOK || err != nil {
			t.Fatalf("%s: %d %v %s", url.path, code, err, body)
		}
		var names []string
		for _, n := range got.Namespaces {
			names = append(names, n.NamespaceInfo.Name+" "+n.NamespaceInfo.State)
		}
		for _, want := range []string{"default NAMESPACE_STATE_REGISTERED", "orders NAMESPACE_STATE_REGISTERED"} {
			if !slices.Contains(names, want) {
				t.Errorf("%s lists %v, not %s", url.path, names, want)
			}
		}
	}
}

func TestGatewayPassesTheSameChecksAsGRPC(t *testing.T) {
	r := start(t, nil)
	code, body := r.get(r.HTTPAddr(), "/api/v1/namespaces/nowhere/workflows")
	if code != http.StatusNotFound || !strings.Contains(body, "NamespaceNotFoundFailure") {
		t.Errorf("got %d %s", code, body)
	}
	code, body = r.get(r.HTTPAddr(), "/api/v1/namespaces/default/schedules")
	if code != http.StatusNotImplemented || !strings.Contains(body, "ListSchedules") {
		t.Errorf("got %d %s", code, body)
	}
}

func TestGatewayStartsAndShowsAWorkflow(t *testing.T) {
	r := start(t, nil)
	start := func(origin string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			"http://"+r.HTTPAddr()+"/api/v1/namespaces/default/workflows/a%2Fb", strings.NewReader(
				`{"workflowType":{"name":"T"},"taskQueue":{"name":"q"},"input":[{"who":"Ada"}],"requestId":"r"}`))
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			request.Header.Set("Origin", origin)
			request.Header.Set("Sec-Fetch-Site", "cross-site")
		}
		return r.send(request)
	}
	if code, body := start("http://elsewhere.example"); code != http.StatusForbidden {
		t.Errorf("a page from elsewhere could start a workflow: %d %s", code, body)
	}
	code, body := start("")
	var started struct{ RunID string }
	if err := json.Unmarshal([]byte(body), &started); code != http.StatusOK || err != nil || started.RunID == "" {
		t.Fatalf("got %d %s", code, body)
	}
	for query, want := range map[string]string{
		"": `"input":[{"who":"Ada"}]`, "?noPayloadShorthand": `"data":"eyJ3aG8iOiJBZGEifQ=="`,
		"?pretty": "\n  \"history\": {",
	} {
		code, body = r.get(r.HTTPAddr(), "/api/v1/namespaces/default/workflows/a%2Fb/history"+query)
		if code != http.StatusOK || !strings.Contains(strings.ReplaceAll(body, `": `, `":`), strings.ReplaceAll(want, `": `, `":`)) {
			t.Errorf("history%s: %d %s lacks %s", query, code, body, want)
		}
	}
	code, body = r.get(r.UIAddr(), "/api/v1/namespaces/default/workflows/a%252Fb/run/"+started.RunID+"/history.json")
	var events []map[string]any
	if err := json.Unmarshal([]byte(body), &events); code != http.StatusOK || err != nil || len(events) < 2 {
		t.Errorf("history file: %d %v %s", code, err, body)
	}
}

func TestUIServesItsPageItsFilesAndItsSettings(t *testing.T) {
	r := start(t, nil)
	for _, path := range []string{"/", "/namespaces/default/workflows", "/index.html"} {
		if code, body := r.get(r.UIAddr(), path); code != http.StatusOK || !strings.Contains(body, `id="svelte"`) {
			t.Errorf("%s: %d %.200s", path, code, body)
		}
	}
	if code, _ := r.get(r.UIAddr(), "/_app/immutable/none.js"); code != http.StatusNotFound {
		t.Errorf("a script that is not there: %d", code)
	}
	if code, body := r.get(r.UIAddr(), "/_app/version.json"); code != http.StatusOK || !strings.Contains(body, "version") {
		t.Errorf("a file: %d %s", code, body)
	}
	code, body := r.get(r.UIAddr(), "/api/v1/settings")
	if code != http.StatusOK || !strings.Contains(body, `"DefaultNamespace":"default"`) ||
		!strings.Contains(body, `"DisableNewsFetch":true`) {
		t.Errorf("settings: %d %s", code, body)
	}
}

func TestUIOffersWhatIsServed(t *testing.T) {
	r := start(t, nil)
	_, body := r.get(r.UIAddr(), "/api/v1/settings")
	var settings map[string]any
	if err := json.Unmarshal([]byte(body), &settings); err != nil {
		t.Fatal(err)
	}
	c := workflowservice.NewWorkflowServiceClient(r.Conn())
	for setting, try := range map[string]func() error{
		"WorkflowResetDisabled": func() error {
			_, err := c.ResetWorkflowExecution(t.Context(), &workflowservice.ResetWorkflowExecutionRequest{Namespace: "default"})
			return err
		},
		"WorkflowPauseDisabled": func() error {
			_, err := c.PauseWorkflowExecution(t.Context(), &workflowservice.PauseWorkflowExecutionRequest{Namespace: "default"})
			return err
		},
		"BatchActionsDisabled": func() error {
			_, err := c.StartBatchOperation(t.Context(), &workflowservice.StartBatchOperationRequest{Namespace: "default"})
			return err
		},
		"WorkflowSignalDisabled": func() error {
			_, err := c.SignalWorkflowExecution(t.Context(), &workflowservice.SignalWorkflowExecutionRequest{Namespace: "default"})
			return err
		},
		"WorkflowUpdateDisabled": func() error {
			_, err := c.UpdateWorkflowExecution(t.Context(), &workflowservice.UpdateWorkflowExecutionRequest{Namespace: "default"})
			return err
		},
		"WorkflowCancelDisabled": func() error {
			_, err := c.RequestCancelWorkflowExecution(t.Context(),
				&workflowservice.RequestCancelWorkflowExecutionRequest{Namespace: "default"})
			return err
		},
		"WorkflowTerminateDisabled": func() error {
			_, err := c.TerminateWorkflowExecution(t.Context(),
				&workflowservice.TerminateWorkflowExecutionRequest{Namespace: "default"})
			return err
		},
	} {
		if missing := status.Code(try()) == codes.Unimplemented; settings[setting] != missing {
			t.Errorf("%s is %v, and the RPC is missing: %v", setting, settings[setting], missing)
		}
	}
}

func TestMetricsCountCallsByNamespaceAndNeverByAnUnknownOne(t *testing.T) {
	r := start(t, nil)
	c := r.client()
	for _, namespace := range []string{"default", "made-up"} {
		_, _ = c.CountWorkflowExecutions(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{Namespace: namespace})
	}
	for _, addr := range []string{r.HTTPAddr(), r.UIAddr()} {
		code, body := r.get(addr, "/metrics")
		if code != http.StatusOK {
			t.Fatalf("got %d", code)
		}
		for _, want := range []string{
			`service_requests{namespace="default",operation="CountWorkflowExecutions",service_name="frontend"} 1`,
			`service_error_with_type{error_type="NotFound",namespace="_unknown_",operation="CountWorkflowExecutions",service_name="frontend"} 1`,
			`service_latency_count{`, `go_goroutines`, `persistence_requests{`,
		} {
			if !strings.Contains(body, want) {
				t.Errorf("%s lacks %s", body, want)
			}
		}
		if strings.Contains(body, "made-up") {
			t.Error("a client could make a series")
		}
	}
}

func TestShardsDivideTheTimerGroups(t *testing.T) {
	for processors, want := range map[int]int{1: 1, 2: 2, 3: 2, 4: 4, 6: 4, 12: 8, 16: 16, 100: 16} {
		if got := shards(processors); got != want {
			t.Errorf("%d processors: %d shards, want %d", processors, got, want)
		}
	}
}

func TestProfilesHaveAPortOfTheirOwnOnly(t *testing.T) {
	r := start(t, func(c *Config) { c.Profile = anyPort })
	if code, body := r.get(r.ProfileAddr(), "/debug/pprof/goroutine?debug=1"); code != http.StatusOK || !strings.Contains(body, "internal/node") {
		t.Errorf("got %d %.100s", code, body)
	}
	if code, _ := r.get(r.HTTPAddr(), "/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("the API's port serves profiles too: %d", code)
	}
}

func TestMetricsHaveAPortOfTheirOwnIfOneIsNamed(t *testing.T) {
	r := start(t, func(c *Config) { c.Metrics = anyPort })
	if code, body := r.get(r.MetricsAddr(), "/metrics"); code != http.StatusOK || !strings.Contains(body, "build_information") {
		t.Errorf("got %d %s", code, body)
	}
	if code, _ := r.get(r.HTTPAddr(), "/metrics"); code != http.StatusNotFound {
		t.Errorf("the API's port serves metrics too: %d", code)
	}
}

func TestRestartFindsWhatWasAcknowledged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	attributes := map[string]enumspb.IndexedValueType{"Customer": enumspb.INDEXED_VALUE_TYPE_KEYWORD}
	r := start(t, func(c *Config) { c.Data, c.SearchAttributes = dir, attributes })
	c := r.client()
	_, err := c.RegisterNamespace(t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: "kept", WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	started, err := c.StartWorkflowExecution(t.Context(), startRequest("w"))
	if err != nil {
		t.Fatal(err)
	}
	before, err := c.GetClusterInfo(t.Context(), &workflowservice.GetClusterInfoRequest{})
	if err != nil || before.GetPersistenceStore() != "pebble" {
		t.Fatal(before, err)
	}
	r.quit()

	r = start(t, func(c *Config) { c.Data = dir })
	conn := r.dial()
	c = workflowservice.NewWorkflowServiceClient(conn)
	got, err := c.DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: "kept"})
	if err != nil || got.GetNamespaceInfo().GetState() != enumspb.NAMESPACE_STATE_REGISTERED {
		t.Errorf("namespace: %v, %v", got, err)
	}
	described, err := c.DescribeWorkflowExecution(t.Context(), &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: "default", Execution: &commonpb.WorkflowExecution{WorkflowId: "w"},
	})
	if err != nil || described.GetWorkflowExecutionInfo().GetExecution().GetRunId() != started.GetRunId() {
		t.Errorf("workflow: %v, %v", described, err)
	}
	after, err := c.GetClusterInfo(t.Context(), &workflowservice.GetClusterInfoRequest{})
	if err != nil || after.GetClusterId() != before.GetClusterId() {
		t.Errorf("cluster: %v, %v", after, err)
	}
	listed, err := operatorservice.NewOperatorServiceClient(conn).ListSearchAttributes(t.Context(),
		&operatorservice.ListSearchAttributesRequest{Namespace: "default"})
	if err != nil || listed.GetCustomAttributes()["Customer"] != enumspb.INDEXED_VALUE_TYPE_KEYWORD {
		t.Errorf("search attributes: %v, %v", listed, err)
	}
	task, err := c.PollWorkflowTaskQueue(timeout(t, 20*time.Second), pollRequest())
	if err != nil || task.GetWorkflowExecution().GetRunId() != started.GetRunId() {
		t.Errorf("task: %v, %v", task, err)
	}
}

func TestSecondNodeOnTheSameDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	start(t, func(c *Config) { c.Data = dir })
	_, err := New(t.Context(), Config{Data: dir, GRPC: anyPort})
	if locked := (*local.LockedError)(nil); !errors.As(err, &locked) {
		t.Errorf("got %v", err)
	}
}

func TestPortInUseIsNamedAndNothingIsLeftOpen(t *testing.T) {
	taken, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	_, err = New(t.Context(), Config{Data: dir, GRPC: anyPort, UI: taken.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()+" is in use") || !strings.Contains(err.Error(), "web UI") {
		t.Errorf("got %v", err)
	}
	start(t, func(c *Config) { c.Data = dir }) // the directory was not left locked
}

func TestStopDrainsPollsAndSendsWaitingCallersAway(t *testing.T) {
	r := start(t, nil)
	conn := r.dial()
	c := workflowservice.NewWorkflowServiceClient(conn)
	if _, err := c.StartWorkflowExecution(t.Context(), startRequest("w")); err != nil {
		t.Fatal(err)
	}
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := watch.Recv(); err != nil || got.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatal(got, err)
	}

	polled := make(chan error, 1)
	go func() {
		request := pollRequest()
		request.TaskQueue.Name = "empty"
		task, err := c.PollWorkflowTaskQueue(timeout(t, time.Minute), request)
		if err == nil && len(task.GetTaskToken()) > 0 {
			err = errors.New("a task from an empty queue")
		}
		polled <- err
	}()
	history := make(chan error, 1)
	go func() {
		// The first page has no more events: a call with its token waits for new ones.
		request := &workflowservice.GetWorkflowExecutionHistoryRequest{
			Namespace: "default", Execution: &commonpb.WorkflowExecution{WorkflowId: "w"}, WaitNewEvent: true,
		}
		page, err := c.GetWorkflowExecutionHistory(timeout(t, time.Minute), request)
		if err == nil {
			request.NextPageToken = page.NextPageToken
			_, err = c.GetWorkflowExecutionHistory(timeout(t, time.Minute), request)
		}
		history <- err
	}()
	r.waitForPending("PollWorkflowTaskQueue", "GetWorkflowExecutionHistory")

	r.stop()
	if err := <-polled; err != nil {
		t.Errorf("poll: %v", err)
	}
	if err := <-history; err != nil && status.Code(err) != codes.Unavailable {
		t.Errorf("history: %v", err)
	}
	// The stream of health ends with the connection; what it says last is that the server stops.
	if got, err := watch.Recv(); err != nil || got.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health: %v, %v", got, err)
	}
}

// waitForPending waits until calls of these methods are under way.
func (r *running) waitForPending(methods ...string) {
	r.t.Helper()
	ctx := timeout(r.t, 20*time.Second)
	for ctx.Err() == nil {
		_, body := r.get(r.HTTPAddr(), "/metrics")
		if !slices.ContainsFunc(methods, func(m string) bool {
			return !strings.Contains(body, `service_pending_requests{namespace="default",operation="`+m+`",service_name="frontend"} 1`)
		}) {
			return
		}
	}
	r.t.Fatal("the calls did not begin to wait")
}

func TestNodeEndsWhenItsStoreHasFailed(t *testing.T) {
	n, err := New(t.Context(), Config{GRPC: anyPort})
	if err != nil {
		t.Fatal(err)
	}
	disk := &brokenDisk{Store: n.store.Store}
	n.store.Store = disk
	done := make(chan error, 1)
	go func() { done <- n.Run(t.Context()) }()
	<-n.Ready()
	disk.broken.Store(true)
	_, err = workflowservice.NewWorkflowServiceClient(n.Conn()).StartWorkflowExecution(timeout(t, 20*time.Second), startRequest("w"))
	if err == nil {
		t.Error("a start was acknowledged that is not in the store")
	}
	if err := <-done; !errors.Is(err, local.ErrFailed) {
		t.Errorf("got %v", err)
	}
}

// brokenDisk fails as local does once a write of its log has failed.
type brokenDisk struct {
	storage.Store
	broken atomic.Bool
}

func (b *brokenDisk) Apply(ctx context.Context, batch *storage.Batch) error {
	if b.broken.Load() {
		return fmt.Errorf("%w: %w", storage.ErrUnknown, local.ErrFailed)
	}
	return b.Store.Apply(ctx, batch)
}

func TestRunWithAContextThatIsDoneReleasesWhatNewTook(t *testing.T) {
	dir := t.TempDir()
	n, err := New(t.Context(), Config{Data: dir, GRPC: anyPort, UI: anyPort})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Run(ctx); err != nil {
		t.Fatal(err)
	}
	start(t, func(c *Config) { c.Data, c.GRPC = dir, n.GRPCAddr() })
}

func TestCallsWithinTheProcessPassTheChecksAndCopy(t *testing.T) {
	r := start(t, nil)
	c := workflowservice.NewWorkflowServiceClient(r.Conn())
	_, err := c.CountWorkflowExecutions(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{Namespace: "nowhere"})
	if status.Code(err) != codes.NotFound || len(status.Convert(err).Details()) != 1 {
		t.Errorf("got %v", err)
	}
	change := &workflowservice.UpdateNamespaceRequest{
		Namespace: "default", UpdateInfo: &namespacepb.UpdateNamespaceInfo{Data: map[string]string{"a": "1"}},
	}
	got, err := c.UpdateNamespace(t.Context(), change)
	if err != nil {
		t.Fatal(err)
	}
	change.UpdateInfo.Data["a"] = "2"
	got.NamespaceInfo.Data["a"] = "3"
	again, err := c.DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: "default"})
	if err != nil || again.GetNamespaceInfo().GetData()["a"] != "1" {
		t.Errorf("the caller's message is the server's: %v, %v", again, err)
	}
}

func startRequest(id string) *workflowservice.StartWorkflowExecutionRequest {
	return &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "default", WorkflowId: id, WorkflowType: &commonpb.WorkflowType{Name: "T"},
		TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, RequestId: "r-" + id,
	}
}

func pollRequest() *workflowservice.PollWorkflowTaskQueueRequest {
	return &workflowservice.PollWorkflowTaskQueueRequest{
		Namespace: "default", TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, Identity: "test",
	}
}

func timeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestHTTPMovesToAFreePortOnlyIfItMay(t *testing.T) {
	taken, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := start(t, func(c *Config) { c.HTTP, c.HTTPAnyPort = taken.Addr().String(), true })
	if r.HTTPAddr() == taken.Addr().String() {
		t.Error("two processes on one port")
	}
	if code, body := r.get(r.HTTPAddr(), "/api/v1/system-info"); code != http.StatusOK {
		t.Errorf("got %d %s", code, body)
	}
}

func TestMetricsCountHowRunsEnd(t *testing.T) {
	r := start(t, nil)
	c := r.client()
	if _, err := c.StartWorkflowExecution(t.Context(), startRequest("w")); err != nil {
		t.Fatal(err)
	}
	_, body := r.get(r.HTTPAddr(), "/metrics")
	if want := `approximate_backlog_count{namespace="default",service_name="matching",task_type="Workflow",taskqueue="q"} 1`; !strings.Contains(body, want) {
		t.Errorf("%s lacks %s", body, want)
	}
	_, err := c.TerminateWorkflowExecution(t.Context(), &workflowservice.TerminateWorkflowExecutionRequest{
		Namespace: "default", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "w"},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, body = r.get(r.HTTPAddr(), "/metrics")
	for _, want := range []string{
		`workflow_terminate{namespace="default",service_name="history"} 1`, `perdure_steps{input="StartWorkflow"} 1`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s lacks %s", body, want)
		}
	}
}
