package guide_test

import (
	"fmt"
	"testing"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/examples/guide"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflowtest"
)

func TestEveryOrderOfBasket(t *testing.T) {
	basket := func(s *workflowtest.Story) *client.Handle[*guide.Basket, []string] {
		return client.HandleOf[*guide.Basket, []string](s.Client, "basket", "")
	}
	workflowtest.Explore(t, workflowtest.Scenario{
		Register: func(w *worker.Worker) {
			worker.Workflow[*guide.Basket](w)
			w.Activity(guide.WrapItem)
		},
		Start: func(s *workflowtest.Story) error {
			_, err := client.Start(s.Ctx, s.Client, (*guide.Basket).Run, "Ada", client.StartOptions{ID: "basket", TaskQueue: s.Queue})
			return err
		},
		Actors: []workflowtest.Actor{
			{Name: "Ada", Steps: []workflowtest.Step{
				{Name: "wraps a cup", Do: func(s *workflowtest.Story) error {
					return client.Signal(s.Ctx, basket(s), (*guide.Basket).Wrap, guide.Item{Name: "cup"})
				}},
				{Name: "pays", Do: func(s *workflowtest.Story) error {
					return client.Signal0(s.Ctx, basket(s), (*guide.Basket).Pay)
				}},
			}},
		},
		Evictions: 1,
		Check: func(s *workflowtest.Story) error {
			got, err := basket(s).Result(s.Ctx)
			if err == nil && len(got) != 2 {
				err = fmt.Errorf("the basket has %q", got)
			}
			return err
		},
	})
}
