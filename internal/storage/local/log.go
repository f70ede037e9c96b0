package local

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
)

// fatal is what a goroutine panics with when Pebble cannot go on. In a caller's goroutine Apply catches it; in one of
// Pebble's own it ends the process.
type fatal struct{ detail string }

func (f fatal) Error() string { return f.detail }

// logger gives Pebble's messages to slog.
type logger struct{ log *slog.Logger }

func (l logger) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("storage engine", "detail", fmt.Sprintf(format, args...))
	}
}

func (l logger) Errorf(format string, args ...any) {
	l.log.Error("storage engine error", "error", fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble would go on and report success.
func (l logger) Fatalf(format string, args ...any) {
	f := fatal{fmt.Sprintf(format, args...)}
	l.log.Error("storage engine cannot go on", "error", f.detail)
	panic(f)
}

// events reports what an operator should know. Flushes and compactions are routine and stay silent.
func (s *Store) events() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			s.log.Error("storage background work failed", "error", err)
			select {
			case s.trouble <- struct{}{}:
			default:
			}
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			s.log.Error("storage data corrupt", "file", info.Path, "error", info.Details)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			s.log.Warn("storage writes stalled", "reason", info.Reason)
		},
		WriteStallEnd: func() { s.log.Info("storage writes resumed") },
		DiskSlow: func(info pebble.DiskSlowInfo) {
			s.log.Warn("storage disk slow", "file", info.Path, "operation", info.OpType.String(),
				"duration", info.Duration)
		},
	}
}
