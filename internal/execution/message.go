package execution

import (
	"github.com/perdure/perdure/internal/ids"
)

// Deliver makes the input that a message is to its receiver. from is the sender. ok is false when the message can be
// dropped.
func Deliver(from ids.RunKey, m *Message) (key ids.WorkflowKey, run ids.RunID, in Input, ok bool) {
	panic("execution: Deliver")
}

// Respond makes the input that tells the sender how its message fared: it also removes the outbox row. retry is true
// when the message has to be delivered again later.
func Respond(m *Message, outbox int64, answer any, err error) (in Input, retry bool) {
	panic("execution: Respond")
}
