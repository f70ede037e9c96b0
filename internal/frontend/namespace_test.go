package frontend

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/operatorservice/v1"
	replicationpb "go.temporal.io/api/replication/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/perdure/perdure/internal/namespace"
	"github.com/perdure/perdure/internal/storage/mem"
)

// administered is a service as far as namespaces and discovery go: no engine, no task queues.
type administered struct {
	*Service
	operator   *Operator
	namespaces *namespace.Registry
}

func administer(t testing.TB, features Features) administered {
	t.Helper()
	store := mem.New(mem.Options{})
	r, err := namespace.Open(t.Context(), namespace.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	return administered{
		Service:    New(Options{Namespaces: r, Store: store, Features: features, Log: slog.New(slog.DiscardHandler)}),
		operator:   NewOperator(r, features),
		namespaces: r,
	}
}

func (a administered) register(t testing.TB, name string) {
	t.Helper()
	_, err := a.RegisterNamespace(t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: name, WorkflowExecutionRetentionPeriod: durationpb.New(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (a administered) describe(t testing.TB, name string) *workflowservice.DescribeNamespaceResponse {
	t.Helper()
	d, err := a.DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: name})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// refused checks an error as a client would see it, and returns the service error that the Go SDK makes of it.
func refused(t testing.TB, err error, code codes.Code, text string) error {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want %s %q", code, text)
	}
	st := status.Convert(toStatus(err))
	if st.Code() != code || st.Message() != text {
		t.Fatalf("got %s %q, want %s %q", st.Code(), st.Message(), code, text)
	}
	return serviceerror.FromStatus(st)
}

func TestS205RegisterNamespace(t *testing.T) {
	a := administer(t, DefaultFeatures())
	_, err := a.RegisterNamespace(t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: "new", Description: "d", OwnerEmail: "o@example.com", Data: map[string]string{"k": "v"},
		WorkflowExecutionRetentionPeriod: durationpb.New(72 * time.Hour), ActiveClusterName: "active",
		Clusters:             []*replicationpb.ClusterReplicationConfig{{ClusterName: "active"}},
		HistoryArchivalState: enumspb.ARCHIVAL_STATE_DISABLED,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := a.describe(t, "new")
	info := got.GetNamespaceInfo()
	if info.GetId() == "" {
		t.Error("no ID")
	}
	want := &workflowservice.DescribeNamespaceResponse{
		NamespaceInfo: &namespacepb.NamespaceInfo{
			Name: "new", State: enumspb.NAMESPACE_STATE_REGISTERED, Description: "d", OwnerEmail: "o@example.com",
			Data: map[string]string{"k": "v"}, Id: info.GetId(), Capabilities: info.GetCapabilities(), Limits: info.GetLimits(),
		},
		Config: &namespacepb.NamespaceConfig{
			WorkflowExecutionRetentionTtl: durationpb.New(72 * time.Hour), BadBinaries: &namespacepb.BadBinaries{},
			HistoryArchivalState:    enumspb.ARCHIVAL_STATE_DISABLED,
			VisibilityArchivalState: enumspb.ARCHIVAL_STATE_DISABLED,
		},
		ReplicationConfig: &replicationpb.NamespaceReplicationConfig{
			ActiveClusterName: "active", Clusters: []*replicationpb.ClusterReplicationConfig{{ClusterName: "active"}},
		},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if n, err := a.namespaces.ByName("new"); err != nil || n.Retention != 72*time.Hour {
		t.Errorf("not usable at once: %v, %v", n, err)
	}

	_, err = a.RegisterNamespace(t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: "new", WorkflowExecutionRetentionPeriod: durationpb.New(time.Hour),
	})
	svc := refused(t, err, codes.AlreadyExists, `Namespace "new" already exists`)
	if e := (*serviceerror.NamespaceAlreadyExists)(nil); !errors.As(svc, &e) {
		t.Errorf("clients see a %T", svc)
	}
}

func TestS205RegisterNamespaceIsChecked(t *testing.T) {
	a := administer(t, DefaultFeatures())
	hour := durationpb.New(time.Hour)
	const badRetention = "A valid retention period is not set on request."
	for _, tt := range []struct {
		name string
		req  *workflowservice.RegisterNamespaceRequest
		want string // empty: fine
	}{
		{"one hour", &workflowservice.RegisterNamespaceRequest{WorkflowExecutionRetentionPeriod: hour}, ""},
		{"half an hour", &workflowservice.RegisterNamespaceRequest{WorkflowExecutionRetentionPeriod: durationpb.New(30 * time.Minute)}, badRetention},
		{"no retention", &workflowservice.RegisterNamespaceRequest{}, badRetention},
		{"broken retention", &workflowservice.RegisterNamespaceRequest{WorkflowExecutionRetentionPeriod: &durationpb.Duration{Seconds: 7200, Nanos: -1}}, badRetention},
		{"long name", &workflowservice.RegisterNamespaceRequest{Namespace: strings.Repeat("n", 1001), WorkflowExecutionRetentionPeriod: hour}, "Namespace length exceeds limit."},
		{"global", &workflowservice.RegisterNamespaceRequest{IsGlobalNamespace: true, WorkflowExecutionRetentionPeriod: hour}, "Cannot register global namespace when not enabled"},
		{"active elsewhere", &workflowservice.RegisterNamespaceRequest{ActiveClusterName: "west", WorkflowExecutionRetentionPeriod: hour}, "Invalid cluster name: west"},
		{"also elsewhere", &workflowservice.RegisterNamespaceRequest{WorkflowExecutionRetentionPeriod: hour, Clusters: []*replicationpb.ClusterReplicationConfig{{ClusterName: "active"}, {ClusterName: "west"}}}, "Invalid cluster name: west"},
		{"archived histories", &workflowservice.RegisterNamespaceRequest{WorkflowExecutionRetentionPeriod: hour, HistoryArchivalState: enumspb.ARCHIVAL_STATE_ENABLED}, "Cluster is not configured for history archival."},
		{"archived visibility", &workflowservice.RegisterNamespaceRequest{WorkflowExecutionRetentionPeriod: hour, VisibilityArchivalState: enumspb.ARCHIVAL_STATE_ENABLED}, "Cluster is not configured for visibility archival."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.req.Namespace == "" {
				tt.req.Namespace = tt.name
			}
			_, err := a.RegisterNamespace(t.Context(), tt.req)
			if tt.want != "" {
				refused(t, err, codes.InvalidArgument, tt.want)
			}
			if _, found := a.namespaces.Lookup(tt.req.Namespace); (found == nil) != (tt.want == "") {
				t.Errorf("after %v, lookup gives %v", err, found)
			}
		})
	}
	_, err := a.RegisterNamespace(t.Context(), &workflowservice.RegisterNamespaceRequest{WorkflowExecutionRetentionPeriod: hour})
	refused(t, err, codes.InvalidArgument, "Namespace not set on request.")
}

func TestS206DescribeNamespace(t *testing.T) {
	a := administer(t, Features{SyncUpdate: true, WorkflowPause: true, Schedules: true})
	byName := a.describe(t, "default")
	byID, err := a.DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Id: byName.GetNamespaceInfo().GetId(), WeakConsistency: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byName, byID, protocmp.Transform()); diff != "" {
		t.Errorf("by name and by ID differ: %s", diff)
	}
	info := byName.GetNamespaceInfo()
	wantCapabilities := &namespacepb.NamespaceInfo_Capabilities{SyncUpdate: true, WorkflowPause: true}
	if diff := cmp.Diff(wantCapabilities, info.GetCapabilities(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if !info.GetSupportsSchedules() {
		t.Error("supports_schedules is not what Features says")
	}
	wantLimits := &namespacepb.NamespaceInfo_Limits{
		BlobSizeLimitError: 2 << 20, MemoSizeLimitError: 2 << 20, WorkflowTaskCompletionSizeLimitError: 40 << 20,
	}
	if diff := cmp.Diff(wantLimits, info.GetLimits(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}

	for name, req := range map[string]*workflowservice.DescribeNamespaceRequest{
		"Namespace not set on request.":                              {},
		"Only one of namespace name or Id should be set on request.": {Namespace: "default", Id: info.GetId()},
	} {
		_, err := a.DescribeNamespace(t.Context(), req)
		refused(t, err, codes.InvalidArgument, name)
	}
	for _, req := range []*workflowservice.DescribeNamespaceRequest{{Namespace: "nope"}, {Id: "nope"}} {
		_, err := a.DescribeNamespace(t.Context(), req)
		svc := refused(t, err, codes.NotFound, "Namespace nope is not found.")
		if e := (*serviceerror.NamespaceNotFound)(nil); !errors.As(svc, &e) || e.Namespace != "nope" {
			t.Errorf("clients see %#v", svc)
		}
	}
}

func TestS207UpdateNamespace(t *testing.T) {
	a := administer(t, DefaultFeatures())
	update := func(req *workflowservice.UpdateNamespaceRequest) *workflowservice.UpdateNamespaceResponse {
		t.Helper()
		req.Namespace = "default"
		resp, err := a.UpdateNamespace(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		d := a.describe(t, "default")
		if diff := cmp.Diff(d.GetNamespaceInfo(), resp.GetNamespaceInfo(), protocmp.Transform()); diff != "" {
			t.Errorf("the answer is not what is described: %s", diff)
		}
		if diff := cmp.Diff(d.GetConfig(), resp.GetConfig(), protocmp.Transform()); diff != "" {
			t.Errorf("the answer is not what is described: %s", diff)
		}
		return resp
	}
	update(&workflowservice.UpdateNamespaceRequest{UpdateInfo: &namespacepb.UpdateNamespaceInfo{
		Description: "d", OwnerEmail: "o@example.com", Data: map[string]string{"a": "1", "b": "2"},
	}})
	update(&workflowservice.UpdateNamespaceRequest{
		UpdateInfo: &namespacepb.UpdateNamespaceInfo{Data: map[string]string{"b": "3", "c": "4"}},
		Config: &namespacepb.NamespaceConfig{
			WorkflowExecutionRetentionTtl: durationpb.New(48 * time.Hour),
			BadBinaries:                   &namespacepb.BadBinaries{Binaries: map[string]*namespacepb.BadBinaryInfo{"sum": {Reason: "r", Operator: "o"}}},
			CustomSearchAttributeAliases:  map[string]string{"Same": "Same"},
		},
		ReplicationConfig: &replicationpb.NamespaceReplicationConfig{ActiveClusterName: "active"},
	})
	resp := update(&workflowservice.UpdateNamespaceRequest{})
	info, config := resp.GetNamespaceInfo(), resp.GetConfig()
	if info.GetDescription() != "d" || info.GetOwnerEmail() != "o@example.com" {
		t.Errorf("fields that were not set changed: %v", info)
	}
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "3", "c": "4"}, info.GetData()); diff != "" {
		t.Error(diff)
	}
	if n, _ := a.namespaces.ByName("default"); config.GetWorkflowExecutionRetentionTtl().AsDuration() != 48*time.Hour || n.Retention != 48*time.Hour {
		t.Errorf("retention %v, and %v for runs", config.GetWorkflowExecutionRetentionTtl(), n.Retention)
	}
	if b := config.GetBadBinaries().GetBinaries()["sum"]; b.GetReason() != "r" || b.GetOperator() != "o" || b.GetCreateTime() == nil {
		t.Errorf("bad binary %v", b)
	}
	if resp := update(&workflowservice.UpdateNamespaceRequest{DeleteBadBinary: "sum"}); len(resp.GetConfig().GetBadBinaries().GetBinaries()) != 0 {
		t.Errorf("bad binaries %v", resp.GetConfig().GetBadBinaries())
	}

	for want, req := range map[string]*workflowservice.UpdateNamespaceRequest{
		"Namespace not set on request.":                      {},
		"A valid retention period is not set on request.":    {Namespace: "default", Config: &namespacepb.NamespaceConfig{WorkflowExecutionRetentionTtl: durationpb.New(time.Minute)}},
		"Cannot register global namespace when not enabled":  {Namespace: "default", PromoteNamespace: true},
		"Invalid cluster name: west":                         {Namespace: "default", ReplicationConfig: &replicationpb.NamespaceReplicationConfig{ActiveClusterName: "west"}},
		"Cluster is not configured for history archival.":    {Namespace: "default", Config: &namespacepb.NamespaceConfig{HistoryArchivalState: enumspb.ARCHIVAL_STATE_ENABLED}},
		"Cluster is not configured for visibility archival.": {Namespace: "default", Config: &namespacepb.NamespaceConfig{VisibilityArchivalState: enumspb.ARCHIVAL_STATE_ENABLED}},
		"Bad binary checksum nope doesn't exists.":           {Namespace: "default", DeleteBadBinary: "nope"},
		"Search attribute Keyword01 cannot have the alias Customer: aliases are not supported.": {Namespace: "default", Config: &namespacepb.NamespaceConfig{
			CustomSearchAttributeAliases: map[string]string{"Keyword01": "Customer"},
		}},
	} {
		_, err := a.UpdateNamespace(t.Context(), req)
		refused(t, err, codes.InvalidArgument, want)
	}
	_, err := a.UpdateNamespace(t.Context(), &workflowservice.UpdateNamespaceRequest{Namespace: "nope"})
	refused(t, err, codes.NotFound, "Namespace nope is not found.")
}

func TestS208DeleteNamespace(t *testing.T) {
	a := administer(t, DefaultFeatures())
	a.register(t, "byname")
	a.register(t, "byid")
	id := a.describe(t, "byid").GetNamespaceInfo().GetId()
	for name, req := range map[string]*operatorservice.DeleteNamespaceRequest{
		"byname": {Namespace: "byname", NamespaceDeleteDelay: durationpb.New(time.Hour)},
		"byid":   {NamespaceId: id},
	} {
		was := a.describe(t, name).GetNamespaceInfo().GetId()
		resp, err := a.operator.DeleteNamespace(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if want := name + "-deleted-" + was[:5]; resp.GetDeletedNamespace() != want {
			t.Errorf("deleted_namespace %q, want %q", resp.GetDeletedNamespace(), want)
		}
		if d := a.describe(t, resp.GetDeletedNamespace()); d.GetNamespaceInfo().GetState() != enumspb.NAMESPACE_STATE_DELETED || d.GetNamespaceInfo().GetId() != was {
			t.Errorf("left behind: %v", d)
		}
		_, err = a.DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: name})
		refused(t, err, codes.NotFound, "Namespace "+name+" is not found.")
		a.register(t, name) // the name is free at once
	}
	for _, deleted := range []bool{false, true} {
		resp, err := a.ListNamespaces(t.Context(), &workflowservice.ListNamespacesRequest{NamespaceFilter: &namespacepb.NamespaceFilter{IncludeDeleted: deleted}})
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{false: 4, true: 6}[deleted]; len(resp.GetNamespaces()) != want {
			t.Errorf("with deleted %v: %d namespaces, want %d", deleted, len(resp.GetNamespaces()), want)
		}
	}

	_, err := a.operator.DeleteNamespace(t.Context(), &operatorservice.DeleteNamespaceRequest{Namespace: "temporal-system"})
	refused(t, err, codes.FailedPrecondition, "unable to delete system namespace")
	for want, req := range map[string]*operatorservice.DeleteNamespaceRequest{
		"Namespace not set on request.":                                   {},
		"Only one of namespace or namespace ID should be set on request.": {Namespace: "default", NamespaceId: id},
		"namespace nope is not found":                                     {Namespace: "nope"},
		"Namespace delete delay is not valid.":                            {Namespace: "default", NamespaceDeleteDelay: durationpb.New(-time.Second)},
	} {
		_, err := a.operator.DeleteNamespace(t.Context(), req)
		refused(t, err, codes.InvalidArgument, want)
	}
}

func TestS209DeprecateNamespace(t *testing.T) {
	a := administer(t, DefaultFeatures())
	a.register(t, "old")
	for range 2 {
		if _, err := a.DeprecateNamespace(t.Context(), &workflowservice.DeprecateNamespaceRequest{Namespace: "old"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.describe(t, "old").GetNamespaceInfo().GetState(); got != enumspb.NAMESPACE_STATE_DEPRECATED {
		t.Errorf("state %s", got)
	}
	_, err := a.DeprecateNamespace(t.Context(), &workflowservice.DeprecateNamespaceRequest{})
	refused(t, err, codes.InvalidArgument, "Namespace not set on request.")
	_, err = a.DeprecateNamespace(t.Context(), &workflowservice.DeprecateNamespaceRequest{Namespace: "nope"})
	refused(t, err, codes.NotFound, "Namespace nope is not found.")
}

func TestS210ListNamespaces(t *testing.T) {
	a := administer(t, DefaultFeatures())
	resp, err := a.ListNamespaces(t.Context(), &workflowservice.ListNamespacesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if d := resp.GetNamespaces()[0]; d.GetNamespaceInfo().GetName() != "default" || d.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration() != 24*time.Hour {
		t.Errorf("a fresh server has %v", resp)
	}

	for i := range 103 {
		a.register(t, fmt.Sprintf("n%03d", i))
	}
	for _, tt := range []struct{ size, first, pages int }{{0, 100, 2}, {-1, 100, 2}, {1, 1, 105}, {50, 50, 3}, {105, 105, 1}, {1 << 30, 105, 1}} {
		seen, pages := map[string]bool{}, 0
		req := &workflowservice.ListNamespacesRequest{PageSize: int32(tt.size)}
		for {
			resp, err := a.ListNamespaces(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if pages++; pages == 1 && len(resp.GetNamespaces()) != tt.first {
				t.Errorf("page size %d: a first page of %d, want %d", tt.size, len(resp.GetNamespaces()), tt.first)
			}
			for _, d := range resp.GetNamespaces() {
				seen[d.GetNamespaceInfo().GetName()] = true
			}
			if req.NextPageToken = resp.GetNextPageToken(); len(req.NextPageToken) == 0 {
				break
			}
		}
		if len(seen) != 105 || pages != tt.pages {
			t.Errorf("page size %d: %d namespaces on %d pages, want 105 on %d", tt.size, len(seen), pages, tt.pages)
		}
	}
	_, err = a.ListNamespaces(t.Context(), &workflowservice.ListNamespacesRequest{NextPageToken: []byte("nonsense")})
	refused(t, err, codes.InvalidArgument, "Invalid NextPageToken.")
}
