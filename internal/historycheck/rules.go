package historycheck

// Rule is the short name of one rule, stable enough for a test to compare.
type Rule string

// The rules of a single run.
const (
	// RuleIDs: event IDs are 1, 2, 3 … without a gap.
	RuleIDs Rule = "event-ids"
	// RuleType: the type is a known one that is ever written, and the attributes are those of the type.
	RuleType Rule = "event-type"
	// RuleTime: each event has a time, and times never fall, but for the late-written ActivityTaskStarted and
	// WorkflowTaskStarted; these are not before their Scheduled event nor after what follows them.
	RuleTime Rule = "event-time"
	// RuleTaskID: task IDs strictly rise.
	RuleTaskID Rule = "task-id"
	// RuleVersion: the failover version is the same on all events.
	RuleVersion Rule = "version"
	// RuleIgnorable: worker_may_ignore stands only on events that no SDK needs.
	RuleIgnorable Rule = "worker-may-ignore"

	// RuleFirst: the first event, and only the first, is WorkflowExecutionStarted.
	RuleFirst Rule = "started-first"
	// RuleStarted: the Started event's fields are defaulted and agree with each other.
	RuleStarted Rule = "started-fields"
	// RuleFirstTask: without backoff and parent the first workflow task is scheduled in the starting transaction,
	// behind at most the one signal of a signal-with-start.
	RuleFirstTask Rule = "first-workflow-task"
	// RuleClose: nothing follows the event that closes the run, so there is at most one.
	RuleClose Rule = "after-close"
	// RuleCloseFields: the closing event's fields agree with each other and with the Started event.
	RuleCloseFields Rule = "close-fields"
	// RuleOpen: the run is open or closed as the caller said.
	RuleOpen Rule = "open-or-closed"
	// RuleRunID: the history belongs to the run the caller named.
	RuleRunID Rule = "run-id"

	// RuleTask: scheduled → started → completed, failed or timed out, and one workflow task at a time.
	RuleTask Rule = "workflow-task"
	// RuleTaskRef: workflow task events name the Scheduled and Started events of the pending task.
	RuleTaskRef Rule = "workflow-task-reference"
	// RuleTaskFields: queue, timeout, cause, timeout type and history size of workflow task events make sense.
	RuleTaskFields Rule = "workflow-task-fields"
	// RuleAttempt: attempt 1 unless the task retries one that failed or timed out directly before; a retried task is
	// written only with its completion, the three events in one piece.
	RuleAttempt Rule = "workflow-task-attempt"

	// RuleBatch: events made from commands and update messages follow their WorkflowTaskCompleted, name it, and have no
	// other event among them.
	RuleBatch Rule = "command-batch"
	// RuleBuffered: no outside event stands between WorkflowTaskStarted and the end of that task.
	RuleBuffered Rule = "buffered"
	// RuleFlush: among flushed events those that end an activity, child or Nexus operation come last.
	RuleFlush Rule = "flush-order"
	// RuleWake: news for an open, unpaused run without a workflow task gets one before anything closes the run (and,
	// with AtRest, before the history ends); failing a task over buffered events flushes some.
	RuleWake Rule = "wake-up"

	// RuleActivity: Scheduled, at most one CancelRequested, one end; every event names the activity's own.
	RuleActivity Rule = "activity"
	// RuleActivityPair: ActivityTaskStarted stands directly before the event that ends the same activity.
	RuleActivityPair Rule = "activity-started-pair"
	// RuleActivityFields: normalised timeouts and retry policy, attempts, failures and retry states are present.
	RuleActivityFields Rule = "activity-fields"
	// RuleActivityCancel: Canceled needs a cancel request; without a start it is written with that request.
	RuleActivityCancel Rule = "activity-cancel"
	// RuleTimer: Started, then fired or canceled once and not early; IDs of pending timers are unique.
	RuleTimer Rule = "timer"
	// RuleChild: Initiated, then Started or StartFailed once, then one end; every event names the child's own.
	RuleChild Rule = "child"
	// RuleExternal: each external signal or cancel has at most one outcome, which names it.
	RuleExternal Rule = "external"
	// RuleUpdate: admitted at most once, then accepted once, then completed once, with matching IDs and contents.
	RuleUpdate Rule = "update"
	// RuleSignal: signals have a name and, when they have a request ID, one of their own.
	RuleSignal Rule = "signal"
	// RuleCancel: a run is asked to cancel at most once.
	RuleCancel Rule = "cancel-requested"
	// RuleReset: the marker of a reset, and only it, names base and new run; it fails a started workflow task.
	RuleReset Rule = "reset-marker"
	// RulePause: paused and unpaused alternate, and no workflow task is scheduled or started while paused.
	RulePause Rule = "pause"
	// RuleOptions: OptionsUpdated changes something and attaches a request ID once.
	RuleOptions Rule = "options-updated"
	// RuleNexus: Nexus operation events name a scheduled operation; start and end come at most once, in order.
	RuleNexus Rule = "nexus"
	// RuleRecord: markers have names; upserts of search attributes and memo are not empty.
	RuleRecord Rule = "record"
	// RuleSearchAttributes: payloads carry their `type`, and none in a Started event is null.
	RuleSearchAttributes Rule = "search-attributes"
)

// The rules of a chain.
const (
	// RuleChainLink: each run closes naming the next, which names it back; only the last may be open or final.
	RuleChainLink Rule = "chain-link"
	// RuleChainConstant: workflow ID, first run ID, expiration, parent and root are those of the chain.
	RuleChainConstant Rule = "chain-constant"
	// RuleChainAttempt: a retry counts on from the run before within its policy, any other successor from 1.
	RuleChainAttempt Rule = "chain-attempt"
	// RuleChainInitiator: the successor's initiator is the reason its predecessor went on.
	RuleChainInitiator Rule = "chain-initiator"
	// RuleChainCarry: what the predecessor hands over (type, queue, input, results, failures) arrives.
	RuleChainCarry Rule = "chain-carry"
)
