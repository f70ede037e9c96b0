package flow

import (
	stdctx "context"
	"log/slog"
)

// quietOnReplay drops what was logged before.
type quietOnReplay struct {
	r *Run
	slog.Handler
}

func (q *quietOnReplay) Enabled(ctx stdctx.Context, l slog.Level) bool {
	return !q.r.replaying && q.Handler.Enabled(ctx, l)
}

func (q *quietOnReplay) WithAttrs(as []slog.Attr) slog.Handler {
	return &quietOnReplay{q.r, q.Handler.WithAttrs(as)}
}

func (q *quietOnReplay) WithGroup(name string) slog.Handler {
	return &quietOnReplay{q.r, q.Handler.WithGroup(name)}
}
