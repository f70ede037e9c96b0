"""The judge sees what is wrong, or its silence would say nothing."""

import pytest
from temporalio.api.history.v1 import HistoryEvent

import judge


def history(*events: tuple[str, dict]) -> list[HistoryEvent]:
    return [
        HistoryEvent(event_id=number, **{f"{kind}_event_attributes": attributes})
        for number, (kind, attributes) in enumerate(events, start=1)
    ]


LEGAL = (
    ("workflow_execution_started", {}),
    ("workflow_task_scheduled", {}),
    ("workflow_task_started", {"scheduled_event_id": 2}),
    ("workflow_task_completed", {"scheduled_event_id": 2, "started_event_id": 3}),
    ("workflow_execution_update_accepted", {"protocol_instance_id": "u"}),
    ("workflow_execution_update_completed", {"accepted_event_id": 5}),
    ("workflow_execution_completed", {}),
)


def test_a_legal_history_has_no_faults():
    assert judge.history(history(*LEGAL)) == []


@pytest.mark.parametrize(
    "events, fault",
    [
        (LEGAL[1:], "workflow_task_scheduled stands at place 1"),
        (LEGAL + LEGAL[-1:], "event 7, workflow_execution_completed, is not the last"),
        (
            (*LEGAL[:6], *LEGAL[5:]),
            "event 7, workflow_execution_update_completed, for the second time",
        ),
        (
            (*LEGAL[:5], *LEGAL[4:]),
            "event 6, workflow_execution_update_accepted, for the second time",
        ),
        ((*LEGAL[:4], *LEGAL[5:]), "accepted_event_id 5 is no workflow_execution_update_accepted"),
        (
            (*LEGAL[:2], *LEGAL[1:]),
            "event 3, workflow_task_scheduled, while the one of event 2 is open",
        ),
    ],
)
def test_an_impossible_history_has(events, fault):
    faults = judge.history(history(*events))
    assert any(fault in line for line in faults), faults


def test_a_gap_in_the_numbers_is_a_fault():
    events = history(*LEGAL)
    del events[3]
    assert "event 5 stands at place 4" in judge.history(events)
