package frontend

import (
	"context"
	"time"

	"go.temporal.io/api/operatorservice/v1"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/namespace"
)

// Operator implements the OperatorService: what administrators do. Methods it does not have answer UNIMPLEMENTED. Safe
// for concurrent use.
type Operator struct {
	operatorservice.UnimplementedOperatorServiceServer

	namespaces *namespace.Registry
	features   Features
}

var _ operatorservice.OperatorServiceServer = (*Operator)(nil)

// NewOperator makes an Operator; it starts nothing.
func NewOperator(namespaces *namespace.Registry, features Features) *Operator {
	return &Operator{namespaces: namespaces, features: features}
}

// AddSearchAttributes defines custom search attributes in a namespace, usable at once.
func (o *Operator) AddSearchAttributes(ctx context.Context, req *operatorservice.AddSearchAttributesRequest) (*operatorservice.AddSearchAttributesResponse, error) {
	err := checkAttributeRequest(req.GetNamespace(), len(req.GetSearchAttributes()))
	if err == nil {
		err = o.namespaces.AddSearchAttributes(ctx, req.GetNamespace(), req.GetSearchAttributes())
	}
	return reply(&operatorservice.AddSearchAttributesResponse{}, err)
}

// RemoveSearchAttributes undefines custom search attributes; what runs have stored under them is no longer shown.
func (o *Operator) RemoveSearchAttributes(ctx context.Context, req *operatorservice.RemoveSearchAttributesRequest) (*operatorservice.RemoveSearchAttributesResponse, error) {
	err := checkAttributeRequest(req.GetNamespace(), len(req.GetSearchAttributes()))
	if err == nil {
		err = o.namespaces.RemoveSearchAttributes(ctx, req.GetNamespace(), req.GetSearchAttributes())
	}
	return reply(&operatorservice.RemoveSearchAttributesResponse{}, err)
}

func checkAttributeRequest(namespace string, attributes int) error {
	switch {
	case namespace == "":
		return invalid("Namespace not set on request.")
	case attributes == 0:
		return invalid("SearchAttributes are not set on request.")
	}
	return nil
}

// ListSearchAttributes shows the search attributes of a namespace. storage_schema stays empty: values are stored as
// they are sent, so there are no native types to tell.
func (o *Operator) ListSearchAttributes(_ context.Context, req *operatorservice.ListSearchAttributesRequest) (*operatorservice.ListSearchAttributesResponse, error) {
	if req.GetNamespace() == "" {
		return nil, invalid("Namespace not set on request.")
	}
	n, err := o.namespaces.Lookup(req.GetNamespace())
	if err != nil {
		return nil, err
	}
	return &operatorservice.ListSearchAttributesResponse{
		CustomAttributes: n.Attributes, SystemAttributes: namespace.SystemSearchAttributes(),
	}, nil
}

// DeleteNamespace frees a namespace's name at once; what is in it is removed in the background.
func (o *Operator) DeleteNamespace(ctx context.Context, req *operatorservice.DeleteNamespaceRequest) (*operatorservice.DeleteNamespaceResponse, error) {
	n, err := o.deleteNamespace(ctx, req)
	if err != nil {
		return nil, err
	}
	return &operatorservice.DeleteNamespaceResponse{DeletedNamespace: n.Name}, nil
}

func (o *Operator) deleteNamespace(ctx context.Context, req *operatorservice.DeleteNamespaceRequest) (*namespace.Namespace, error) {
	name, id := req.GetNamespace(), req.GetNamespaceId()
	switch {
	case name == "" && id == "":
		return nil, invalid("Namespace not set on request.")
	case name != "" && id != "":
		return nil, invalid("Only one of namespace or namespace ID should be set on request.")
	}
	var delay time.Duration
	if d := req.GetNamespaceDeleteDelay(); d != nil {
		if delay = d.AsDuration(); d.CheckValid() != nil || delay < 0 || delay > namespace.MaxRetention {
			return nil, invalid("Namespace delete delay is not valid.")
		}
	}
	n, err := o.namespaces.Delete(ctx, name, ids.NamespaceID(id), delay)
	if isKind(err, execution.NotFound) { // the code that clients know from this RPC, and only from it
		return nil, invalid("namespace %s is not found", name+id)
	}
	return n, err
}

// ListClusters shows the one cluster there is.
func (o *Operator) ListClusters(_ context.Context, req *operatorservice.ListClustersRequest) (*operatorservice.ListClustersResponse, error) {
	if len(req.GetNextPageToken()) > 0 { // no page is ever followed by another
		return nil, invalid("Invalid NextPageToken.")
	}
	return &operatorservice.ListClustersResponse{Clusters: []*operatorservice.ClusterMetadata{{
		ClusterName: namespace.ClusterName, ClusterId: o.namespaces.ClusterID(),
		Address: o.features.Server.Address, HttpAddress: o.features.Server.HTTPAddress,
		InitialFailoverVersion: initialFailoverVersion, HistoryShardCount: ids.Slots, IsConnectionEnabled: true,
	}}}, nil
}
