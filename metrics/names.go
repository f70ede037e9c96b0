package metrics

// What the SDK counts and measures. Tags: namespace on all; task_queue on those of workers; the others as noted.
const (
	Request                  = "temporal_request"                          // operation
	RequestFailure           = "temporal_request_failure"                  // operation, status_code
	RequestLatency           = "temporal_request_latency"                  // operation
	LongRequest              = "temporal_long_request"                     // operation: polls and waits
	LongRequestFailure       = "temporal_long_request_failure"             // operation, status_code
	LongRequestLatency       = "temporal_long_request_latency"             // operation
	WorkerStart              = "temporal_worker_start"                     // worker_type
	PollerStart              = "temporal_poller_start"                     // poller_type
	NumPollers               = "temporal_num_pollers"                      // poller_type
	SlotsAvailable           = "temporal_worker_task_slots_available"      // worker_type
	SlotsUsed                = "temporal_worker_task_slots_used"           // worker_type
	WorkflowPollEmpty        = "temporal_workflow_task_queue_poll_empty"   //
	WorkflowPollSucceed      = "temporal_workflow_task_queue_poll_succeed" //
	WorkflowTaskLatency      = "temporal_workflow_task_schedule_to_start_latency"
	WorkflowTaskExecution    = "temporal_workflow_task_execution_latency" // workflow_type
	WorkflowTaskReplay       = "temporal_workflow_task_replay_latency"    // workflow_type
	WorkflowTaskFailed       = "temporal_workflow_task_execution_failed"  // workflow_type, failure_reason
	WorkflowTaskNoCompletion = "temporal_workflow_task_no_completion"     // workflow_type
	WorkflowCompleted        = "temporal_workflow_completed"              // workflow_type
	WorkflowFailed           = "temporal_workflow_failed"                 // workflow_type
	WorkflowCanceled         = "temporal_workflow_canceled"               // workflow_type
	WorkflowContinued        = "temporal_workflow_continue_as_new"        // workflow_type
	WorkflowLatency          = "temporal_workflow_endtoend_latency"       // workflow_type
	CorruptedSignals         = "temporal_corrupted_signals"               // workflow_type
	CacheHit                 = "temporal_sticky_cache_hit"                // workflow_type
	CacheMiss                = "temporal_sticky_cache_miss"               // workflow_type
	CacheEviction            = "temporal_sticky_cache_total_forced_eviction"
	CacheSize                = "temporal_sticky_cache_size"
	ActivityPollEmpty        = "temporal_activity_poll_no_task"
	ActivityLatency          = "temporal_activity_schedule_to_start_latency" // workflow_type, activity_type
	ActivityExecution        = "temporal_activity_execution_latency"         // workflow_type, activity_type
	ActivitySucceeded        = "temporal_activity_succeed_endtoend_latency"  // workflow_type, activity_type
	ActivityFailed           = "temporal_activity_execution_failed"          // workflow_type, activity_type
	ActivityTaskError        = "temporal_activity_task_error"                // workflow_type, activity_type
	ActivityUnregistered     = "temporal_unregistered_activity_invocation"   // workflow_type, activity_type
	LocalTotal               = "temporal_local_activity_total"               // workflow_type, activity_type
	LocalFailed              = "temporal_local_activity_execution_failed"    // workflow_type, activity_type
	LocalCanceled            = "temporal_local_activity_execution_cancelled" // workflow_type, activity_type
	LocalExecution           = "temporal_local_activity_execution_latency"   // workflow_type, activity_type
	LocalSucceeded           = "temporal_local_activity_succeed_endtoend_latency"
)

// The tags.
const (
	Namespace     = "namespace"
	TaskQueue     = "task_queue"
	Operation     = "operation"
	StatusCode    = "status_code"
	WorkerType    = "worker_type"
	PollerType    = "poller_type"
	WorkflowType  = "workflow_type"
	ActivityType  = "activity_type"
	FailureReason = "failure_reason"
)
