// Package clean has activities, a client and a worker, which may do as they like.
package clean

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

var calls int

type Shop struct {
	open bool
}

type Activities struct{ http *http.Client }

func (a *Activities) Fetch(ctx context.Context, url string) (string, error) {
	calls++
	go func() { time.Sleep(time.Second) }()
	for k, v := range map[string]int{} {
		fmt.Println(k, v, time.Now(), os.Getpid())
	}
	_, err := a.http.Get(url)
	return "", err
}

func (s *Shop) Run(ctx workflow.Context, url string) (string, error) {
	var a *Activities
	text, err := workflow.Activity(ctx, a.Fetch, url, workflow.ActivityOptions{StartToClose: time.Minute}).Get()
	if err != nil {
		return "", err
	}
	local := func(_ context.Context, x string) (string, error) { return x + os.Getenv("X"), nil }
	_, err = workflow.LocalActivity(ctx, local, text, workflow.LocalActivityOptions{}).Get()
	if err != nil {
		return "", err
	}
	return text, workflow.Await(ctx, func() bool { return s.open })
}

func (s *Shop) Open(workflow.Context) { s.open = true }

func Main(ctx context.Context, c *client.Client) error {
	w := worker.New(c, "shop", worker.Options{})
	worker.Workflow[*Shop](w)
	w.Activity((&Activities{http.DefaultClient}).Fetch)
	h, err := client.Start(ctx, c, (*Shop).Run, time.Now().String(), client.StartOptions{})
	if err != nil {
		return err
	}
	return client.Signal0(ctx, h, (*Shop).Open)
}
