package frontend

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
)

func (a administered) attributes(t testing.TB, ns string) *operatorservice.ListSearchAttributesResponse {
	t.Helper()
	resp, err := a.operator.ListSearchAttributes(t.Context(), &operatorservice.ListSearchAttributesRequest{Namespace: ns})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestS199CustomSearchAttributes(t *testing.T) {
	a := administer(t, DefaultFeatures())
	add := func(types map[string]enumspb.IndexedValueType) error {
		_, err := a.operator.AddSearchAttributes(t.Context(), &operatorservice.AddSearchAttributesRequest{Namespace: "default", SearchAttributes: types})
		return err
	}
	customer := map[string]enumspb.IndexedValueType{"Customer": enumspb.INDEXED_VALUE_TYPE_KEYWORD}
	data, _ := json.Marshal("c")
	sa := &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{
		"Customer": {Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: data},
	}}
	check := func() error {
		n, err := a.namespaces.ByName("default")
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.CheckSearchAttributes(sa)
		return err
	}
	refused(t, check(), codes.InvalidArgument, "Namespace default has no mapping defined for search attribute Customer")
	for range 2 { // doing it again is fine
		if err := add(customer); err != nil {
			t.Fatal(err)
		}
		if err := check(); err != nil {
			t.Errorf("not usable at once: %v", err)
		}
	}
	if diff := cmp.Diff(customer, a.attributes(t, "default").GetCustomAttributes()); diff != "" {
		t.Error(diff)
	}
	if others := a.attributes(t, "temporal-system").GetCustomAttributes(); len(others) != 0 {
		t.Errorf("other namespaces have %v", others)
	}

	for name, want := range map[string]string{
		"TemporalThing": "Search attribute TemporalThing is reserved by system.",
		"WorkflowId":    "Search attribute WorkflowId is reserved by system.",
		"BuildIds":      "Search attribute BuildIds is reserved by system.",
	} {
		refused(t, add(map[string]enumspb.IndexedValueType{name: enumspb.INDEXED_VALUE_TYPE_KEYWORD}), codes.InvalidArgument, want)
	}
	refused(t, add(nil), codes.InvalidArgument, "SearchAttributes are not set on request.")

	remove := func(names ...string) error {
		_, err := a.operator.RemoveSearchAttributes(t.Context(), &operatorservice.RemoveSearchAttributesRequest{Namespace: "default", SearchAttributes: names})
		return err
	}
	refused(t, remove("Customer", "RunId"), codes.InvalidArgument, "Unable to remove non-custom search attributes: RunId.")
	if err := remove("Customer", "Unknown"); err != nil {
		t.Fatal(err)
	}
	if left := a.attributes(t, "default").GetCustomAttributes(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	refused(t, check(), codes.InvalidArgument, "Namespace default has no mapping defined for search attribute Customer")
}

func TestS202ListSearchAttributes(t *testing.T) {
	a := administer(t, DefaultFeatures())
	system := a.attributes(t, "default").GetSystemAttributes()
	for name, typ := range map[string]enumspb.IndexedValueType{
		"WorkflowId": enumspb.INDEXED_VALUE_TYPE_KEYWORD, "StartTime": enumspb.INDEXED_VALUE_TYPE_DATETIME,
		"HistoryLength": enumspb.INDEXED_VALUE_TYPE_INT, "BuildIds": enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST,
		"TemporalChangeVersion": enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST, "TemporalSchedulePaused": enumspb.INDEXED_VALUE_TYPE_BOOL,
	} {
		if system[name] != typ {
			t.Errorf("%s is %s, want %s", name, system[name], typ)
		}
	}
	_, err := a.operator.AddSearchAttributes(t.Context(), &operatorservice.AddSearchAttributesRequest{
		Namespace: "default", SearchAttributes: map[string]enumspb.IndexedValueType{"Mine": enumspb.INDEXED_VALUE_TYPE_DOUBLE},
	})
	if err != nil {
		t.Fatal(err)
	}
	all, err := a.GetSearchAttributes(t.Context(), &workflowservice.GetSearchAttributesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	system["Mine"] = enumspb.INDEXED_VALUE_TYPE_DOUBLE
	if diff := cmp.Diff(system, all.GetKeys()); diff != "" {
		t.Errorf("GetSearchAttributes is not the system's and all custom ones: %s", diff)
	}
}

func TestSearchAttributeRPCsWantANamespace(t *testing.T) {
	a := administer(t, DefaultFeatures())
	types := map[string]enumspb.IndexedValueType{"A": enumspb.INDEXED_VALUE_TYPE_INT}
	for name, call := range map[string]func(ns string) error{
		"add": func(ns string) error {
			_, err := a.operator.AddSearchAttributes(t.Context(), &operatorservice.AddSearchAttributesRequest{Namespace: ns, SearchAttributes: types})
			return err
		},
		"remove": func(ns string) error {
			_, err := a.operator.RemoveSearchAttributes(t.Context(), &operatorservice.RemoveSearchAttributesRequest{Namespace: ns, SearchAttributes: []string{"A"}})
			return err
		},
		"list": func(ns string) error {
			_, err := a.operator.ListSearchAttributes(t.Context(), &operatorservice.ListSearchAttributesRequest{Namespace: ns})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, call(""), codes.InvalidArgument, "Namespace not set on request.")
			refused(t, call("nope"), codes.NotFound, "Namespace nope is not found.")
		})
	}
}

func TestListClusters(t *testing.T) {
	features := Features{Server: ServerInfo{Address: "127.0.0.1:7233", HTTPAddress: "127.0.0.1:7243"}}
	a := administer(t, features)
	resp, err := a.operator.ListClusters(t.Context(), &operatorservice.ListClustersRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := &operatorservice.ListClustersResponse{Clusters: []*operatorservice.ClusterMetadata{{
		ClusterName: "active", ClusterId: a.namespaces.ClusterID(), Address: "127.0.0.1:7233", HttpAddress: "127.0.0.1:7243",
		InitialFailoverVersion: 1, HistoryShardCount: 1024, IsConnectionEnabled: true,
	}}}
	if diff := cmp.Diff(want, resp, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	_, err = a.operator.ListClusters(t.Context(), &operatorservice.ListClustersRequest{NextPageToken: []byte("x")})
	refused(t, err, codes.InvalidArgument, "Invalid NextPageToken.")
}

func TestOtherOperatorMethodsAreUnimplemented(t *testing.T) {
	a := administer(t, DefaultFeatures())
	for method, call := range map[string]func() error{
		"AddOrUpdateRemoteCluster": func() error { _, err := a.operator.AddOrUpdateRemoteCluster(t.Context(), nil); return err },
		"RemoveRemoteCluster":      func() error { _, err := a.operator.RemoveRemoteCluster(t.Context(), nil); return err },
		"ListNexusEndpoints":       func() error { _, err := a.operator.ListNexusEndpoints(t.Context(), nil); return err },
	} {
		if err := call(); status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v", method, err)
		}
	}
}
