package execution

import (
	workflowpb "go.temporal.io/api/workflow/v1"
)

// Summary is what visibility lists of the run.
func (s *State) Summary() *workflowpb.WorkflowExecutionInfo { panic("execution: Summary") }
