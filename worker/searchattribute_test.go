package worker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/searchattribute"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

var (
	customer = searchattribute.Keyword("SdkCustomer")
	note     = searchattribute.Text("SdkNote")
	tags     = searchattribute.KeywordList("SdkTags")
	amount   = searchattribute.Int("SdkAmount")
	ratio    = searchattribute.Double("SdkRatio")
	paid     = searchattribute.Bool("SdkPaid")
	due      = searchattribute.Datetime("SdkDue")
)

// Filed changes the attributes by which it is found.
type Filed struct{}

func (*Filed) Run(ctx workflow.Context, _ bool) (string, error) {
	before, _, err := amount.Get(workflow.GetInfo(ctx).SearchAttributes)
	if err != nil {
		return "", err
	}
	workflow.UpsertSearchAttributes(ctx, searchattribute.Map(
		amount.Set(before+1), ratio.Set(0.5), paid.Set(true), tags.Set([]string{"a", "b"}), note.Set("some words"), customer.Unset(),
	))
	all := workflow.GetInfo(ctx).SearchAttributes
	n, _, _ := amount.Get(all)
	_, still, _ := customer.Get(all)
	when, _, err := due.Get(all)
	return fmt.Sprint(n, " ", still, " ", when.UTC().Format(time.DateOnly)), err
}

func TestSearchAttributesHaveTypes(t *testing.T) {
	c, q, ctx := server(t), uuid.NewString(), t.Context()
	_, err := c.Operator().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: c.Namespace(), SearchAttributes: map[string]enumspb.IndexedValueType{
		customer.Name(): enumspb.INDEXED_VALUE_TYPE_KEYWORD, note.Name(): enumspb.INDEXED_VALUE_TYPE_TEXT, tags.Name(): enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST,
		amount.Name(): enumspb.INDEXED_VALUE_TYPE_INT, ratio.Name(): enumspb.INDEXED_VALUE_TYPE_DOUBLE, paid.Name(): enumspb.INDEXED_VALUE_TYPE_BOOL,
		due.Name(): enumspb.INDEXED_VALUE_TYPE_DATETIME,
	}})
	ok(t, err)
	start(t, c, q, worker.Options{}, worker.Workflow[*Filed])
	h := must[*client.Handle[*Filed, string]](t)(client.Start(ctx, c, (*Filed).Run, true, client.StartOptions{TaskQueue: q, SearchAttributes: searchattribute.Map(
		customer.Set("c-7"), amount.Set(41), due.Set(time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC)),
	)}))
	if s := must[string](t)(h.Result(ctx)); s != "42 false 2030-01-02" {
		t.Errorf("the workflow saw %s", s)
	}
	d, err := h.Describe(ctx)
	ok(t, err)
	check := func(sa *commonpb.SearchAttributes) {
		if s, _, err := tags.Get(sa); fmt.Sprint(s) != "[a b]" || err != nil {
			t.Errorf("tags %v, %v", s, err)
		}
		if _, there, _ := customer.Get(sa); there {
			t.Error("the customer is still there")
		}
		if _, _, err := paid.Get(sa); err != nil {
			t.Error(err)
		}
		if _, _, err := searchattribute.Int(tags.Name()).Get(sa); err == nil {
			t.Error("a list was read as a number")
		}
	}
	check(d.WorkflowExecutionInfo.SearchAttributes)
}
