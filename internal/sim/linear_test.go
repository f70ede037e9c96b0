package sim

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

// registers are workflows that do nothing by themselves, so that what clients see of them is a matter of the clients'
// calls alone: for each there is an order of all calls, compatible with time, in which every answer is right. A call
// without answer may take effect at any later moment, or never.
type registerCall struct {
	kind    string // start, signal, terminate or describe
	request string // of a start
}

type registerAnswer struct {
	unknown bool
	ok      bool
	request string // of the run that the answer speaks of
	open    bool   // as described
}

type register struct {
	request string // that started the current run; empty: there is none
	open    bool
}

type registerOp struct {
	workflow string
	call     registerCall
	begun    clock.Nanos
	ended    clock.Nanos // zero: never
	answer   registerAnswer
	client   int
}

// requestOf tells which start made a run.
func (s *sim) requestOf(key ids.WorkflowKey, run string) string {
	if r := s.audit.runs[key.Run(ids.RunID(run))]; r != nil && r.state != nil {
		return r.state.Start.RequestID
	}
	return "nobody: " + run
}

var registerModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation { return [][]porcupine.Operation{history} },
	Init:      func() any { return register{} },
	Step: func(state, input, output any) (bool, any) {
		st, in, out := state.(register), input.(registerCall), output.(registerAnswer)
		switch in.kind {
		case "start":
			if st.open {
				return out.unknown || !out.ok && out.request == st.request || out.ok && st.request == in.request, st
			}
			if !out.unknown && !out.ok {
				return false, st
			}
			return true, register{in.request, true}
		case "signal":
			return out.unknown || out.ok == st.open, st
		case "terminate":
			return out.unknown || out.ok == st.open, register{st.request, false}
		}
		return out.unknown || out.ok == (st.request != "") && out.request == st.request && out.open == st.open, st
	},
	Equal:             func(a, b any) bool { return a == b },
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%v -> %v", in, out) },
}

func (s *sim) checkLinear() {
	if s.conf.retention < time.Hour {
		return // closed runs vanish by themselves
	}
	byWorkflow := map[string][]porcupine.Operation{}
	for _, op := range s.clients.registerOps {
		end := int64(op.ended)
		if op.answer.unknown || end == 0 {
			if op.call.kind == "describe" || op.call.kind == "signal" {
				continue // without an answer they say nothing
			}
			op.answer.unknown, end = true, math.MaxInt64
		}
		byWorkflow[op.workflow] = append(byWorkflow[op.workflow], porcupine.Operation{ClientId: op.client, Input: op.call, Call: int64(op.begun),
			Output: op.answer, Return: end})
	}
	for _, id := range sortedKeys(byWorkflow) {
		if porcupine.CheckOperationsTimeout(registerModel, byWorkflow[id], 5*time.Second) == porcupine.Illegal {
			s.fail("the calls to %s have no linear order: %s", id, registerStory(byWorkflow[id]))
		}
	}
}

func registerStory(ops []porcupine.Operation) (out string) {
	for _, op := range ops {
		out += fmt.Sprintf("\n  %9.3f .. %9.3f %+v -> %+v", clock.Nanos(op.Call).Sub(genesis).Seconds(), clock.Nanos(op.Return).Sub(genesis).Seconds(), op.Input, op.Output)
	}
	return out
}
