// Package backoff is the arithmetic of trying again: cron schedules, retry intervals, and what a retry policy means.
//
// Invariant: everything here is a pure function of its arguments. Nothing reads a clock, and no argument is changed.
package backoff
