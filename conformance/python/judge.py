"""What cannot be true of a run's history, whatever the server: rules of ../judge that concern messages, in Python."""

from collections.abc import Callable, Sequence
from typing import Any

from temporalio.api.history.v1 import HistoryEvent

CLOSING = {
    "workflow_execution_completed",
    "workflow_execution_failed",
    "workflow_execution_timed_out",
    "workflow_execution_canceled",
    "workflow_execution_terminated",
    "workflow_execution_continued_as_new",
}

# An event, the field by which it refers to an earlier one, and what that has to be. A field that is zero refers to
# nothing.
REFERENCES = [
    ("workflow_task_started", "scheduled_event_id", "workflow_task_scheduled"),
    ("workflow_task_completed", "scheduled_event_id", "workflow_task_scheduled"),
    ("workflow_task_completed", "started_event_id", "workflow_task_started"),
    ("workflow_task_failed", "scheduled_event_id", "workflow_task_scheduled"),
    ("workflow_task_failed", "started_event_id", "workflow_task_started"),
    ("workflow_task_timed_out", "scheduled_event_id", "workflow_task_scheduled"),
    ("workflow_task_timed_out", "started_event_id", "workflow_task_started"),
    ("activity_task_started", "scheduled_event_id", "activity_task_scheduled"),
    ("activity_task_completed", "scheduled_event_id", "activity_task_scheduled"),
    ("activity_task_completed", "started_event_id", "activity_task_started"),
    ("activity_task_failed", "scheduled_event_id", "activity_task_scheduled"),
    ("activity_task_timed_out", "scheduled_event_id", "activity_task_scheduled"),
    ("timer_fired", "started_event_id", "timer_started"),
    ("timer_canceled", "started_event_id", "timer_started"),
    (
        "external_workflow_execution_signaled",
        "initiated_event_id",
        "signal_external_workflow_execution_initiated",
    ),
    (
        "signal_external_workflow_execution_failed",
        "initiated_event_id",
        "signal_external_workflow_execution_initiated",
    ),
    (
        "external_workflow_execution_cancel_requested",
        "initiated_event_id",
        "request_cancel_external_workflow_execution_initiated",
    ),
    (
        "request_cancel_external_workflow_execution_failed",
        "initiated_event_id",
        "request_cancel_external_workflow_execution_initiated",
    ),
    (
        "workflow_execution_update_completed",
        "accepted_event_id",
        "workflow_execution_update_accepted",
    ),
]

# Events of one group may refer to one earlier event only once: nothing starts twice, nothing ends twice.
ONCE: list[tuple[set[str], Callable[[Any], Any]]] = [
    ({"workflow_task_started"}, lambda a: a.scheduled_event_id),
    (
        {"workflow_task_completed", "workflow_task_failed", "workflow_task_timed_out"},
        lambda a: a.scheduled_event_id,
    ),
    ({"activity_task_started"}, lambda a: a.scheduled_event_id),
    (
        {
            "activity_task_completed",
            "activity_task_failed",
            "activity_task_timed_out",
            "activity_task_canceled",
        },
        lambda a: a.scheduled_event_id,
    ),
    ({"timer_fired", "timer_canceled"}, lambda a: a.started_event_id),
    (
        {"external_workflow_execution_signaled", "signal_external_workflow_execution_failed"},
        lambda a: a.initiated_event_id,
    ),
    (
        {
            "external_workflow_execution_cancel_requested",
            "request_cancel_external_workflow_execution_failed",
        },
        lambda a: a.initiated_event_id,
    ),
    ({"workflow_execution_update_accepted"}, lambda a: a.protocol_instance_id),
    ({"workflow_execution_update_completed"}, lambda a: a.accepted_event_id),
    ({"workflow_execution_cancel_requested"}, lambda a: "cancel"),
]


def closed(event: HistoryEvent) -> bool:
    return _kind(event) in CLOSING


def history(events: Sequence[HistoryEvent]) -> list[str]:
    """One line for each rule that the events of one run break, in the order served; nothing for a legal history."""
    faults = []
    before: dict[int, str] = {}
    happened: set[tuple[int, Any]] = set()
    open_task = 0
    for place, event in enumerate(events, start=1):
        kind = _kind(event)
        attributes = getattr(event, f"{kind}_event_attributes")
        if event.event_id != place:
            faults.append(f"event {event.event_id} stands at place {place}")
        if (kind == "workflow_execution_started") != (place == 1):
            faults.append(f"{kind} stands at place {place}")
        if kind in CLOSING and place != len(events):
            faults.append(f"event {place}, {kind}, is not the last")
        for referrer, field, wanted in REFERENCES:
            reference = getattr(attributes, field) if referrer == kind else 0
            if reference and before.get(reference) != wanted:
                faults.append(f"event {place}, {kind}: {field} {reference} is no {wanted}")
        for group, (members, what) in enumerate(ONCE):
            if kind in members:
                if (group, what(attributes)) in happened:
                    faults.append(f"event {place}, {kind}, for the second time")
                happened.add((group, what(attributes)))
        if kind == "workflow_task_scheduled":
            if open_task:
                faults.append(f"event {place}, {kind}, while the one of event {open_task} is open")
            open_task = place
        if kind in ("workflow_task_completed", "workflow_task_failed", "workflow_task_timed_out"):
            open_task = 0
        before[place] = kind
    return faults


def _kind(event: HistoryEvent) -> str:
    return event.WhichOneof("attributes").removesuffix("_event_attributes")
