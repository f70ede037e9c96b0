// Package limits knows the settings of a server that can be changed by name, and parses their values.
package limits

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perdure/perdure/internal/execution"
)

// knownSettings are the settings that can be changed, under the names that operators of Temporal know them by. Names are
// compared without regard to case.
var knownSettings = []struct {
	name string
	set  setting
}{
	{"limit.blobSize.error", integer(func(l *execution.Limits) *int { return &l.BlobBytes })},
	{"limit.memoSize.error", integer(func(l *execution.Limits) *int { return &l.MemoBytes })},
	{"limit.maxIDLength", integer(func(l *execution.Limits) *int { return &l.IDBytes })},
	{"limit.numPendingActivities.error", integer(func(l *execution.Limits) *int { return &l.PendingActivities })},
	{"limit.numPendingChildExecutions.error", integer(func(l *execution.Limits) *int { return &l.PendingChildren })},
	{"limit.numPendingSignals.error", integer(func(l *execution.Limits) *int { return &l.PendingSignals })},
	{"limit.numPendingCancelRequests.error", integer(func(l *execution.Limits) *int { return &l.PendingCancels })},
	{"limit.historyCount.error", integer(func(l *execution.Limits) *int { return &l.HistoryEvents })},
	{"limit.historySize.error", integer(func(l *execution.Limits) *int64 { return &l.HistoryBytes })},
	{"limit.historyCount.suggestContinueAsNew", integer(func(l *execution.Limits) *int { return &l.SuggestEvents })},
	{"limit.historySize.suggestContinueAsNew", integer(func(l *execution.Limits) *int64 { return &l.SuggestBytes })},
	{"limit.mutableStateActivityFailureSize.error", integer(func(l *execution.Limits) *int { return &l.LastFailureBytes })},
	{"history.maximumSignalsPerExecution", integer(func(l *execution.Limits) *int { return &l.Signals })},
	{"history.maximumBufferedEventsBatch", integer(func(l *execution.Limits) *int { return &l.BufferedEvents })},
	{"history.maximumBufferedEventsSizeInBytes", integer(func(l *execution.Limits) *int { return &l.BufferedBytes })},
	{"history.maxBufferedQueryCount", integer(func(l *execution.Limits) *int { return &l.BufferedQueries })},
	{"history.maxInFlightUpdates", integer(func(l *execution.Limits) *int { return &l.UpdatesInFlight })},
	{"history.maxInFlightUpdatePayloads", integer(func(l *execution.Limits) *int { return &l.UpdatesInFlightBytes })},
	{"history.maxTotalUpdates", integer(func(l *execution.Limits) *int { return &l.UpdatesTotal })},
	{"history.maxTotalUpdates.suggestContinueAsNewThreshold", share(func(l *execution.Limits) *int {
		return &l.SuggestUpdatesPercent
	})},
	{"history.defaultWorkflowTaskTimeout", duration(func(l *execution.Limits) *time.Duration { return &l.TaskTimeoutDefault })},
	{"history.workflowTaskHeartbeatTimeout", duration(func(l *execution.Limits) *time.Duration { return &l.HeartbeatTotal })},
	{"frontend.disallowQuery", boolean(func(l *execution.Limits, on bool) { l.NoQueries = on })},
	// Settings of our own. The first replaces all that was set before it.
	{"perdure.referenceLimits", boolean(func(l *execution.Limits, on bool) {
		*l = *execution.DefaultLimits()
		if on {
			*l = *execution.ReferenceLimits()
		}
	})},
	{"perdure.softLimits", boolean(func(l *execution.Limits, on bool) { l.Hard = !on })},
	{"perdure.inlineSignals", boolean(func(l *execution.Limits, on bool) { l.InlineSignals = on })},
	{"perdure.gzipOnLoopback", boolean(func(l *execution.Limits, on bool) { l.GzipOnLoopback = on })},
	{"perdure.rememberAcrossRuns", boolean(func(l *execution.Limits, on bool) { l.ForgetRuns = !on })},
	{"perdure.ledgerNotes", count(func(l *execution.Limits) *int { return &l.LedgerNotes })},
	// Test helpers of SDKs send this one. There is no such check here, so only its absence can be asked for.
	{uncheckedVersions, never},
}

const uncheckedVersions = "frontend.enableServerVersionCheck"

// setting parses a value into one of the limits.
type setting func(l *execution.Limits, value string) error

func integer[N int | int64](field func(*execution.Limits) *N) setting {
	return func(l *execution.Limits, value string) error {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n <= 0 || n > math.MaxInt32 {
			return fmt.Errorf("%q is not a whole number from 1 to %d", value, math.MaxInt32)
		}
		*field(l) = N(n)
		return nil
	}
}

// boolean is a switch.
func boolean(set func(l *execution.Limits, on bool)) setting {
	return func(l *execution.Limits, value string) error {
		on, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", value)
		}
		set(l, on)
		return nil
	}
}

// count is like integer, but may be zero.
func count(field func(*execution.Limits) *int) setting {
	return func(l *execution.Limits, value string) error {
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is not a whole number from 0 on", value)
		}
		*field(l) = int(n)
		return nil
	}
}

func share(field func(*execution.Limits) *int) setting {
	return func(l *execution.Limits, value string) error {
		x, err := strconv.ParseFloat(value, 64)
		if err != nil || !(x > 0 && x <= 1) {
			return fmt.Errorf("%q is not a number above 0 and up to 1", value)
		}
		*field(l) = int(math.Round(x * 100))
		return nil
	}
}

func duration(field func(*execution.Limits) *time.Duration) setting {
	return func(l *execution.Limits, value string) error {
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return fmt.Errorf("%q is not a duration such as 10s", value)
		}
		*field(l) = d
		return nil
	}
}

func never(_ *execution.Limits, value string) error {
	on, err := strconv.ParseBool(value)
	if err != nil || on {
		return fmt.Errorf("%q: only false is possible", value)
	}
	return nil
}

// New is the default limits with settings applied, as Set does it.
func New(settings []string) (l *execution.Limits, unknown []string, err error) {
	l = execution.DefaultLimits()
	unknown, err = Set(l, settings)
	return l, unknown, err
}

// Set applies NAME=VALUE settings and returns the names that mean nothing here, sorted, each once. A value may be written as
// JSON. An error says what is wrong with which setting; some may have been applied then.
func Set(l *execution.Limits, settings []string) (unknown []string, err error) {
	names := make(map[string]bool)
	for _, s := range settings {
		name, value, ok := strings.Cut(s, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, fmt.Errorf("%q is not of the form NAME=VALUE", s)
		}
		set := findSetting(name)
		if set == nil {
			names[name] = true
			continue
		}
		value = strings.TrimSpace(value)
		if text := ""; json.Unmarshal([]byte(value), &text) == nil {
			value = text
		}
		if err := set(l, value); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return slices.Sorted(maps.Keys(names)), check(l)
}

// check refuses combinations that make no sense.
func check(l *execution.Limits) error {
	return cmp.Or(
		ordered("history events", int64(l.SuggestEvents), int64(l.HistoryEvents)),
		ordered("history size", l.SuggestBytes, l.HistoryBytes),
	)
}

func ordered(what string, suggest, fail int64) error {
	if suggest > fail {
		return fmt.Errorf("continue-as-new is suggested at a %s of %d, but a run ends at %d", what, suggest, fail)
	}
	return nil
}

func findSetting(name string) setting {
	for _, s := range knownSettings {
		if strings.EqualFold(s.name, name) {
			return s.set
		}
	}
	return nil
}

// Names are the names for the help, a line each.
func Names() string {
	var names []string
	for _, s := range knownSettings {
		if s.name != uncheckedVersions {
			names = append(names, s.name)
		}
	}
	return strings.Join(names, "\n")
}
