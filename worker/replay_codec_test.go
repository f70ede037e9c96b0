package worker_test

import (
	"log/slog"
	"testing"

	historypb "go.temporal.io/api/history/v1"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/embedded"
	"github.com/perdure/perdure/worker"
)

// What CLI and UI export of a namespace with a codec is not decoded.
func TestTheReplayerDecodesWithCodecs(t *testing.T) {
	ctx, codecs, quiet := t.Context(), []converter.Codec{converter.ZlibCodec{AlwaysEncode: true}}, slog.New(slog.DiscardHandler)
	db, err := embedded.Open(ctx, embedded.Options{Listen: "127.0.0.1:0", Client: client.Options{Codecs: codecs, Logger: quiet}})
	ok(t, err)
	defer func() { ok(t, db.Close()) }()
	plain, err := client.Dial(ctx, client.Options{Address: db.Addr(), Logger: quiet})
	ok(t, err)
	defer plain.Close()
	w := worker.New(db.Client(), "q", worker.Options{})
	worker.Workflow[*Before](w)
	w.Activity(Compose)
	ok(t, w.Start())
	defer w.Stop()
	h := must[*client.Handle[*Before, string]](t)(client.Start0(ctx, db.Client(), (*Before).Run, client.StartOptions{TaskQueue: "q"}))
	must[string](t)(h.Result(ctx))
	var raw []*historypb.HistoryEvent
	for e, err := range plain.Handle(h.ID(), "").History(ctx) {
		ok(t, err)
		raw = append(raw, e)
	}
	p := worker.NewReplayer()
	worker.ReplayWorkflow[*Before](p)
	if err := p.Events(raw); err == nil {
		t.Error("an encoded history replays without its codec")
	}
	p.Codecs = codecs
	ok(t, p.Events(raw))
	ok(t, p.Events(raw)) // it was not changed
}
