package frontend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	filterpb "go.temporal.io/api/filter/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/perdure/perdure/internal/filter"
	"github.com/perdure/perdure/internal/namespace"
)

const (
	listPage = 1000
	// listPageBytes ends a page early; see historyPageBytes.
	listPageBytes = 2 << 20
	// maxGroups bounds the memory of a grouped count.
	maxGroups = 10_000
)

// ListWorkflowExecutions lists runs that match a query: open ones first, newest start first, then closed ones, newest
// close first.
func (s *Service) ListWorkflowExecutions(ctx context.Context, r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	infos, next, err := s.list(ctx, n, r.Query, r.PageSize, r.NextPageToken)
	return reply(&workflowservice.ListWorkflowExecutionsResponse{Executions: infos, NextPageToken: next}, err)
}

// ScanWorkflowExecutions is ListWorkflowExecutions under an older name.
func (s *Service) ScanWorkflowExecutions(ctx context.Context, r *workflowservice.ScanWorkflowExecutionsRequest) (*workflowservice.ScanWorkflowExecutionsResponse, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	infos, next, err := s.list(ctx, n, r.Query, r.PageSize, r.NextPageToken)
	return reply(&workflowservice.ScanWorkflowExecutionsResponse{Executions: infos, NextPageToken: next}, err)
}

// ListArchivedWorkflowExecutions: nothing is ever archived.
func (s *Service) ListArchivedWorkflowExecutions(_ context.Context, r *workflowservice.ListArchivedWorkflowExecutionsRequest) (*workflowservice.ListArchivedWorkflowExecutionsResponse, error) {
	if _, err := s.namespace(r.GetNamespace()); err != nil {
		return nil, err
	}
	return nil, invalid("Cluster is not configured for visibility archival.")
}

// ListOpenWorkflowExecutions lists open runs started in a range of time.
func (s *Service) ListOpenWorkflowExecutions(ctx context.Context, r *workflowservice.ListOpenWorkflowExecutionsRequest) (*workflowservice.ListOpenWorkflowExecutionsResponse, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	query, err := timeQuery(filter.StartTime, r.StartTimeFilter)
	if err != nil {
		return nil, err
	}
	query = append(query, filter.CloseTime+" IS NULL")
	query = append(query, nameQuery(r.GetExecutionFilter(), r.GetTypeFilter())...)
	infos, next, err := s.list(ctx, n, strings.Join(query, " AND "), r.MaximumPageSize, r.NextPageToken)
	return reply(&workflowservice.ListOpenWorkflowExecutionsResponse{Executions: infos, NextPageToken: next}, err)
}

// ListClosedWorkflowExecutions lists runs closed in a range of time.
func (s *Service) ListClosedWorkflowExecutions(ctx context.Context, r *workflowservice.ListClosedWorkflowExecutionsRequest) (*workflowservice.ListClosedWorkflowExecutionsResponse, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	query, err := timeQuery(filter.CloseTime, r.StartTimeFilter)
	if err != nil {
		return nil, err
	}
	query = append(query, filter.CloseTime+" IS NOT NULL")
	query = append(query, nameQuery(r.GetExecutionFilter(), r.GetTypeFilter())...)
	if f := r.GetStatusFilter(); f != nil {
		switch f.Status {
		case enumspb.WORKFLOW_EXECUTION_STATUS_UNSPECIFIED, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED:
			return nil, invalid("StatusFilter must be the status of a closed execution.")
		}
		query = append(query, filter.ExecutionStatus+" = "+filter.Quote(f.Status.String()))
	}
	infos, next, err := s.list(ctx, n, strings.Join(query, " AND "), r.MaximumPageSize, r.NextPageToken)
	return reply(&workflowservice.ListClosedWorkflowExecutionsResponse{Executions: infos, NextPageToken: next}, err)
}

func timeQuery(attribute string, f *filterpb.StartTimeFilter) (conditions []string, err error) {
	earliest, latest := f.GetEarliestTime(), f.GetLatestTime()
	if earliest != nil && latest != nil && earliest.AsTime().After(latest.AsTime()) {
		return nil, invalid("EarliestTime in StartTimeFilter should not be larger than LatestTime.")
	}
	bound := func(op string, t *timestamppb.Timestamp) {
		if t != nil {
			conditions = append(conditions, attribute+op+filter.Quote(t.AsTime().Format(time.RFC3339Nano)))
		}
	}
	bound(" >= ", earliest)
	bound(" <= ", latest)
	return conditions, nil
}

func nameQuery(e *filterpb.WorkflowExecutionFilter, t *filterpb.WorkflowTypeFilter) (conditions []string) {
	for _, c := range []struct{ attribute, value string }{
		{filter.WorkflowID, e.GetWorkflowId()}, {filter.RunID, e.GetRunId()}, {filter.WorkflowType, t.GetName()},
	} {
		if c.value != "" {
			conditions = append(conditions, c.attribute+" = "+filter.Quote(c.value))
		}
	}
	return conditions
}

func (s *Service) list(ctx context.Context, n *namespace.Namespace, query string, size int32, token []byte) (infos []*workflowpb.WorkflowExecutionInfo, next []byte, err error) {
	q, err := filter.Parse(query, n.Attribute, filter.Options{})
	if err != nil {
		return nil, nil, err
	}
	if size <= 0 || size > listPage {
		size = listPage
	}
	mark := xxhash.Sum64String(query)
	var after *listToken
	if len(token) > 0 {
		t, err := decodeList(token)
		if err != nil || t.Namespace != n.ID || t.Query != mark {
			return nil, nil, invalid("Invalid NextPageToken.")
		}
		after = &t
	}
	var last listToken
	bytes := 0
	err = s.scanIndex(ctx, n, q, after, func(at listToken, row []byte, info *workflowpb.WorkflowExecutionInfo) bool {
		if len(infos) > 0 && (len(infos) == int(size) || bytes+len(row) > listPageBytes) {
			last.Namespace, last.Query = n.ID, mark
			next = last.encode()
			return false
		}
		if info == nil { // does not match
			return true
		}
		show(n, info)
		infos = append(infos, info)
		last, bytes = at, bytes+len(row)
		return true
	})
	return infos, next, err
}

// CountWorkflowExecutions counts the runs that match a query, by groups if it has a GROUP BY.
func (s *Service) CountWorkflowExecutions(ctx context.Context, r *workflowservice.CountWorkflowExecutionsRequest) (*workflowservice.CountWorkflowExecutionsResponse, error) {
	n, err := s.namespace(r.GetNamespace())
	if err != nil {
		return nil, err
	}
	q, err := filter.Parse(r.Query, n.Attribute, filter.Options{GroupBy: true})
	if err != nil {
		return nil, err
	}
	group, grouped := q.GroupBy()
	resp := &workflowservice.CountWorkflowExecutionsResponse{}
	groups := make(map[string]int64)
	err = s.scanIndex(ctx, n, q, nil, func(_ listToken, _ []byte, info *workflowpb.WorkflowExecutionInfo) bool {
		if info == nil {
			return true
		}
		resp.Count++
		if grouped {
			if v := (indexed{n, info}).Value(group.Name); !v.IsNull() {
				groups[v.Text()]++
			}
		}
		return len(groups) <= maxGroups
	})
	if err == nil && len(groups) > maxGroups {
		err = invalid("invalid query: 'GROUP BY' %s has more than %d groups", group.Name, maxGroups)
	}
	if err != nil {
		return nil, err
	}
	keys := slices.SortedFunc(maps.Keys(groups), func(a, b string) int {
		return cmp.Or(cmp.Compare(groups[b], groups[a]), cmp.Compare(a, b))
	})
	for _, key := range keys {
		resp.Groups = append(resp.Groups, &workflowservice.CountWorkflowExecutionsResponse_AggregationGroup{
			GroupValues: []*commonpb.Payload{filter.EncodeValue(filter.Keyword(key))}, Count: groups[key],
		})
	}
	return resp, nil
}

// indexed is a visibility row as a filter.Record.
type indexed struct {
	n    *namespace.Namespace
	info *workflowpb.WorkflowExecutionInfo
}

// Value implements filter.Record.
func (r indexed) Value(name string) filter.Value {
	i := r.info
	parent, root := i.ParentExecution, i.RootExecution
	if root == nil {
		root = i.Execution
	}
	switch name {
	case filter.WorkflowID:
		return filter.Keyword(i.Execution.GetWorkflowId())
	case filter.RunID:
		return filter.Keyword(i.Execution.GetRunId())
	case filter.WorkflowType:
		return filter.Keyword(i.Type.GetName())
	case filter.ExecutionStatus:
		return filter.Keyword(i.Status.String())
	case "TaskQueue":
		return filter.Keyword(i.TaskQueue)
	case "ParentWorkflowId":
		return keywordOf(parent, parent.GetWorkflowId())
	case "ParentRunId":
		return keywordOf(parent, parent.GetRunId())
	case "RootWorkflowId":
		return filter.Keyword(root.GetWorkflowId())
	case "RootRunId":
		return filter.Keyword(root.GetRunId())
	case filter.StartTime:
		return datetimeOf(i.StartTime)
	case filter.ExecutionTime:
		return datetimeOf(i.ExecutionTime)
	case filter.CloseTime:
		return datetimeOf(i.CloseTime)
	case "HistoryLength":
		return filter.Int(i.HistoryLength)
	case "HistorySizeBytes":
		return filter.Int(i.HistorySizeBytes)
	case "StateTransitionCount":
		return filter.Int(i.StateTransitionCount)
	case filter.ExecutionDuration:
		if i.ExecutionDuration == nil {
			return filter.Value{}
		}
		return filter.Int(int64(i.ExecutionDuration.AsDuration()))
	}
	p, ok := i.SearchAttributes.GetIndexedFields()[name]
	if !ok {
		return filter.Value{}
	}
	a, ok := r.n.Attribute(name)
	if !ok {
		return filter.Value{}
	}
	v, err := filter.DecodeValue(p, a.Type)
	if err != nil { // written when the attribute had another type
		return filter.Value{}
	}
	return v
}

func keywordOf(e *commonpb.WorkflowExecution, s string) filter.Value {
	if e == nil {
		return filter.Value{}
	}
	return filter.Keyword(s)
}

func datetimeOf(t *timestamppb.Timestamp) filter.Value {
	if t == nil {
		return filter.Value{}
	}
	return filter.Datetime(nanosOf(t))
}

// errRow wraps what is wrong with a visibility row.
func errRow(key []byte, err error) error {
	return fmt.Errorf("visibility row %x: %w", key, cmp.Or(err, errors.New("malformed")))
}
