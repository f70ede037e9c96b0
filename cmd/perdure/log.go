package main

import (
	"io"
	"log/slog"
	"strings"
)

// logFlags say what is logged and how.
type logFlags struct{ level, format string }

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	"fatal": slog.LevelError + 4, // nothing is logged at this level: what ends the program is said by the program
	"never": slog.LevelError + 4,
}

func (f *logFlags) logger(w io.Writer) (*slog.Logger, error) {
	level, ok := logLevels[strings.ToLower(f.level)]
	if !ok {
		return nil, usagef("--log-level %q is none of debug, info, warn, error, never", f.level)
	}
	options := &slog.HandlerOptions{Level: level}
	switch f.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	case "pretty":
		options.ReplaceAttr = pretty
		return slog.New(slog.NewTextHandler(w, options)), nil
	}
	return nil, usagef("--log-format %q is none of text, json, pretty", f.format)
}

// pretty leaves the date out: who reads such a log does it today.
func pretty(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		a.Value = slog.StringValue(a.Value.Time().Format("15:04:05.000"))
	}
	return a
}
