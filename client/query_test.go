package client_test

import (
	"testing"

	"github.com/perdure/perdure/client"
)

func TestAQuerySeesWhatWasSignalledBefore(t *testing.T) {
	c, _ := server(t, nil)
	q, ctx := work(t, c), t.Context()
	for i := range 200 {
		h := must[*client.Handle[*Greeting, []string]](t)(client.Start(ctx, c, (*Greeting).Run, "a", client.StartOptions{TaskQueue: q}))
		must[string](t)(client.Query(ctx, h, (*Greeting).Latest))
		ok(t, client.Signal2(ctx, h, (*Greeting).Two, "x", 2))
		if s := must[string](t)(client.Query(ctx, h, (*Greeting).Latest)); s != "xx" {
			t.Errorf("round %d: %s", i, s)
		}
	}
}
