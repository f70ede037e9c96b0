package record_test

import (
	"fmt"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
)

// BenchmarkLayout is the evidence of ADR 5: what one step has to encode when one of n pending activities changes, with
// the state as a header plus rows, and with the state as one record.
func BenchmarkLayout(b *testing.B) {
	for _, n := range []int{1, 10, 100, 2000} {
		st := layoutState(n)
		changed := []execution.Row{{Kind: execution.RowInfo}, {Kind: execution.RowActivity, Number: 5}}
		b.Run(fmt.Sprintf("rows/pending=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			bytes := 0
			for b.Loop() {
				bytes = 0
				for _, row := range changed {
					value, ok := record.EncodeRow(st, row)
					if !ok {
						b.Fatalf("no row %v", row)
					}
					bytes += len(value)
				}
			}
			b.ReportMetric(float64(bytes), "B/step")
		})
		b.Run(fmt.Sprintf("record/pending=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			bytes := 0
			for b.Loop() {
				whole := struct {
					Info       *execution.Info       `cbor:"1,keyasint"`
					Start      *execution.Start      `cbor:"2,keyasint"`
					Activities []*execution.Activity `cbor:"3,keyasint"`
				}{Info: &st.Info, Start: st.Start}
				for _, a := range st.Activities.All {
					whole.Activities = append(whole.Activities, a)
				}
				value, err := cbor.Marshal(&whole)
				if err != nil {
					b.Fatal(err)
				}
				bytes = len(value)
			}
			b.ReportMetric(float64(bytes), "B/step")
		})
	}
}

func layoutState(n int) *execution.State {
	now := clock.Nanos(1_700_000_000_000_000_000)
	run := ids.RunID("5d3f2a50-7f25-4b5c-9f6c-52f2f9f0a111")
	st := &execution.State{
		Info:  execution.Info{NextEventID: ids.EventID(5 + n), HistoryBytes: 4096, Transitions: 7, LastEventTime: now, ExecutionTime: now, WFTSeq: 2},
		Start: &execution.Start{FirstRunID: run, OriginalRunID: run, RequestID: string(run), WorkflowType: "order", TaskQueue: "orders", StartTime: now, Attempt: 1},
	}
	var rows execution.Rows
	for i := range n {
		rows.Activities = append(rows.Activities, &execution.Activity{ScheduledID: ids.EventID(5 + i), ActivityID: fmt.Sprint(5 + i), Type: "charge",
			Queue: "orders", Attempt: 1, FirstSchedAt: now, ScheduledAt: now, STC: 1e10, RetryPolicy: make([]byte, 30), Dispatched: true})
	}
	return execution.Assemble(st, &rows)
}
