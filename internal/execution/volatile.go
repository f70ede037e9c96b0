package execution

import (
	enumspb "go.temporal.io/api/enums/v1"
	querypb "go.temporal.io/api/query/v1"
	updatepb "go.temporal.io/api/update/v1"
)

// UpdateStage is where an update stands that no store knows of yet, or that somebody waits for.
type UpdateStage uint8

const (
	// UpdateAdmitted: known to the server only.
	UpdateAdmitted UpdateStage = iota
	// UpdateSent: delivered with a started workflow task.
	UpdateSent
	// UpdateAccepted: durable; kept here for those who wait for its completion.
	UpdateAccepted
)

// LiveUpdate is an update that is admitted, sent, or accepted and awaited. Treat as immutable.
type LiveUpdate struct {
	ID      string
	Number  int64 // order of admission
	Stage   UpdateStage
	Request *updatepb.Request
	Size    int
	SentSeq int64 // workflow task it was delivered with
	Waiters []updateWaiter
}

type updateWaiter struct {
	waiter Waiter
	stage  enumspb.UpdateWorkflowExecutionLifecycleStage
}

// LiveQuery is a query that waits for a workflow task. Treat as immutable.
type LiveQuery struct {
	ID     string
	Query  *querypb.WorkflowQuery
	Waiter Waiter
	Seq    int64 // workflow task it was delivered with; zero: none yet
}
