package main

import (
	"context"
	"fmt"
	"time"

	"github.com/perdure/perdure/activity"
	"github.com/perdure/perdure/workflow"
)

// Input is how much there is to do.
type Input struct{ Chunks, RowsPerChunk int }

// Progress is how far it has come.
type Progress struct {
	Done, Total int
	Finished    bool
}

// Import is a long job that goes through a table chunk by chunk.
type Import struct {
	progress Progress
	rows     int
	failed   error
}

// Init knows the total before the first message.
func (i *Import) Init(_ workflow.ReadContext, in Input) error {
	i.progress.Total = in.Chunks
	return nil
}

// Run imports one chunk after the other and gives the number of rows. Who waits for progress gets an answer before it closes.
func (i *Import) Run(ctx workflow.Context, in Input) (int, error) {
	for n := range in.Chunks {
		// Each chunk has an event in the history. What happens within a chunk is in its heartbeats.
		rows, err := workflow.Activity2(ctx, table.Import, n, in.RowsPerChunk, workflow.ActivityOptions{
			StartToClose: time.Hour, Heartbeat: 30 * time.Second,
		}).Get()
		if err != nil {
			i.failed = err
			return i.rows, err
		}
		i.rows += rows
		i.progress.Done++
	}
	i.progress.Finished = true
	return i.rows, nil
}

// Progress is a query: how far is it now? Who asks again and again learns of a change late, and costs something each time.
func (i *Import) Progress(workflow.ReadContext) (Progress, error) { return i.progress, nil }

// WaitForProgress is an update that answers when at least so many chunks are done: a long poll, without a poll.
func (i *Import) WaitForProgress(ctx workflow.Context, atLeast int) (Progress, error) {
	err := workflow.Await(ctx, func() bool { return i.progress.Done >= atLeast || i.failed != nil })
	if err == nil && i.progress.Done < atLeast {
		err = fmt.Errorf("it failed at %d of %d: %w", i.progress.Done, i.progress.Total, i.failed)
	}
	return i.progress, err
}

// ValidateWaitForProgress refuses to wait for what will never come.
func (i *Import) ValidateWaitForProgress(_ workflow.ReadContext, atLeast int) error {
	if atLeast > i.progress.Total {
		return fmt.Errorf("there are only %d chunks", i.progress.Total)
	}
	return nil
}

var table *Table // names the activities

// Table is where the rows come from.
type Table struct {
	// Row reads one. It may be slow, and it may fail.
	Row func(ctx context.Context, chunk, row int) error
}

// Import is an activity. Another attempt goes on after the row that the one before has reported.
func (t *Table) Import(ctx context.Context, chunk, rows int) (int, error) {
	done := 0
	if details := activity.HeartbeatDetails(ctx); details.Len() > 0 {
		if err := details.Get(&done); err != nil {
			return 0, err
		}
	}
	for ; done < rows; done++ {
		if err := t.Row(ctx, chunk, done); err != nil {
			return 0, err
		}
		activity.RecordHeartbeat(ctx, done+1)
	}
	return rows, nil
}
