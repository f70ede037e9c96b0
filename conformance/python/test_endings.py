"""Workflows that end, or continue as new, with handlers at work and messages on their way."""

import asyncio
import warnings
from contextlib import contextmanager
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.workflow import (
    HandlerUnfinishedPolicy,
    UnfinishedSignalHandlersWarning,
    UnfinishedUpdateHandlersWarning,
)

from rig import Hold, attributes, kind, of_kind

ABANDON = HandlerUnfinishedPolicy.ABANDON


@workflow.defn
class Impatient:
    """Ends in the way it is told to, whatever its handlers are doing."""

    def __init__(self) -> None:
        self.how = ""

    @workflow.run
    async def run(self, run: int = 1) -> None:
        await workflow.wait_condition(lambda: self.how != "")
        if self.how == "fail":
            raise ApplicationError("as it was told to")
        if self.how == "continue as new" and run == 1:
            workflow.continue_as_new(2)

    @workflow.signal
    def end(self, how: str) -> None:
        self.how = how

    @workflow.signal
    async def stay(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal(unfinished_policy=ABANDON)
    async def stay_unnoticed(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    async def stay_by_update(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update(unfinished_policy=ABANDON)
    async def stay_by_update_unnoticed(self) -> None:
        await workflow.wait_condition(lambda: False)


@contextmanager
def unfinished():
    """Collects what is warned of unfinished handlers, of signals and of updates."""
    signals: list[str] = []
    updates: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield signals, updates
    for warning in caught:
        if warning.category is UnfinishedSignalHandlersWarning:
            signals.append(str(warning.message))
        if warning.category is UnfinishedUpdateHandlersWarning:
            updates.append(str(warning.message))


ENDS = {
    "return": "workflow_execution_completed",
    "fail": "workflow_execution_failed",
    "cancel": "workflow_execution_canceled",
    "continue as new": "workflow_execution_continued_as_new",
}


@pytest.mark.parametrize("how", ENDS)
async def test_ending_with_handlers_at_work_warns_once_for_each_kind_and_tells_the_callers(
    rig, how
):
    async with rig.worker(Impatient):
        handle = await rig.start(Impatient.run)
        for stay in (Impatient.stay, Impatient.stay, Impatient.stay_unnoticed):
            await handle.signal(stay)
        updates = [
            await rig.accepted(handle, stay)
            for stay in (Impatient.stay_by_update, Impatient.stay_by_update_unnoticed)
        ]
        with unfinished() as (of_signals, of_updates):
            if how == "cancel":
                await handle.cancel()
            else:
                await handle.signal(Impatient.end, how)
            await rig.seen(rig.run_of(handle), ENDS[how])
        for update in updates:
            with pytest.raises(WorkflowUpdateFailedError) as caught:
                await update.result()
            cause = caught.value.cause
            assert isinstance(cause, ApplicationError)
            assert cause.type == "AcceptedUpdateCompletedWorkflow"
            assert "the Workflow completed before the Update completed" in cause.message
    assert len(of_signals) == len(of_updates) == 1
    assert '[{"name": "stay", "count": 2}]' in of_signals[0]
    assert f'[{{"name": "stay_by_update", "id": "{updates[0].id}"}}]' in of_updates[0]


async def test_ending_with_abandonable_handlers_alone_does_not_warn(rig):
    async with rig.worker(Impatient):
        handle = await rig.start(Impatient.run)
        await handle.signal(Impatient.stay_unnoticed)
        await rig.accepted(handle, Impatient.stay_by_update_unnoticed)
        with unfinished() as (of_signals, of_updates):
            await handle.signal(Impatient.end, "return")
            await handle.result()
    assert of_signals == of_updates == []


async def test_eviction_and_termination_with_handlers_at_work_do_not_warn(rig):
    with unfinished() as (of_signals, of_updates):
        async with rig.worker(Impatient):
            handle = await rig.start(Impatient.run)
            await handle.signal(Impatient.stay)
            await rig.accepted(handle, Impatient.stay_by_update)
        async with rig.worker(Impatient):
            assert "stay" in await handle.query("__stack_trace", result_type=str)
            await handle.terminate()
    assert of_signals == of_updates == []


@activity.defn
async def think() -> None:
    pass


@workflow.defn
class Relay:
    """Takes messages, continues as new after every few of them, and returns all it ever took."""

    FEW = 12

    @workflow.init
    def __init__(self, taken: list[str]) -> None:
        self.taken = taken
        self.enough = len(taken) + Relay.FEW
        self.closed = False

    @workflow.run
    async def run(self, taken: list[str]) -> list[str]:
        await workflow.wait_condition(lambda: self.closed or len(self.taken) >= self.enough)
        await workflow.wait_condition(workflow.all_handlers_finished)
        if not self.closed:
            workflow.continue_as_new(self.taken)
        return self.taken

    @workflow.signal
    async def take(self, what: str) -> None:
        await workflow.execute_activity(think, start_to_close_timeout=timedelta(seconds=30))
        self.taken.append(what)

    @workflow.update
    async def take_by_update(self, what: str) -> str:
        await workflow.execute_activity(think, start_to_close_timeout=timedelta(seconds=30))
        self.taken.append(what)
        return what

    @workflow.signal
    def close(self) -> None:
        self.closed = True


async def test_continuing_as_new_with_messages_on_their_way_loses_and_doubles_none(rig):
    async with rig.worker(Relay, activities=[think]):
        handle = await rig.start(Relay.run, [])
        # Several senders of each kind; fewer updates at once than the server allows for one run.
        count = iter(range(24))

        async def signals() -> None:
            for i in count:
                await handle.signal(Relay.take, f"signal {i}")

        other_count = iter(range(24))

        async def updates() -> None:
            for i in other_count:
                answer = await handle.execute_update(
                    Relay.take_by_update, f"update {i}", id=f"u{i}"
                )
                assert answer == f"update {i}"

        await asyncio.gather(*(signals() for _ in range(3)), *(updates() for _ in range(6)))
        await handle.signal(Relay.close)
        want = [f"{what} {i}" for what in ("signal", "update") for i in range(24)]
        assert sorted(await handle.result()) == sorted(want)
    first = await rig.events(rig.run_of(handle))
    assert kind(first[-1]) == "workflow_execution_continued_as_new"


@workflow.defn
class Leaving:
    """Continues as new at the end of a workflow task that a test can hold."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    @workflow.run
    async def run(self, taken: list[str]) -> list[str]:
        if taken == ["first"]:
            await workflow.execute_local_activity(
                "hold", start_to_close_timeout=timedelta(seconds=30)
            )
            workflow.continue_as_new([*taken, *self.taken, "second"])
        await workflow.wait_condition(lambda: self.taken != [])
        return [*taken, *self.taken]

    @workflow.signal
    def take(self, what: str) -> None:
        self.taken.append(what)

    @workflow.update
    def take_by_update(self, what: str) -> str:
        self.taken.append(what)
        return workflow.info().run_id


async def test_an_update_that_meets_a_run_about_to_continue_is_done_by_the_next_run(rig):
    held = Hold()
    async with rig.worker(Leaving, activities=[held.hold]):
        handle = await rig.start(Leaving.run, ["first"])
        await held.entered.wait()
        update = await rig.admit(handle, Leaving.take_by_update, "update", id="u")
        held.left.set()
        run_id = await update
        assert run_id != handle.result_run_id
        assert await handle.result() == ["first", "second", "update"]
    first = await rig.events(rig.run_of(handle))
    assert not of_kind(first, "workflow_execution_update_accepted")


async def test_a_signal_that_meets_a_run_about_to_continue_is_handled_by_that_run(rig):
    held = Hold()
    async with rig.worker(Leaving, activities=[held.hold]):
        handle = await rig.start(Leaving.run, ["first"])
        await held.entered.wait()
        await handle.signal(Leaving.take, "signal")
        held.left.set()
        await rig.seen(rig.run_of(handle), ENDS["continue as new"])
        await handle.signal(Leaving.take, "another")
        assert await handle.result() == ["first", "signal", "second", "another"]
    first = await rig.events(rig.run_of(handle))
    failed = attributes(of_kind(first, "workflow_task_failed")[0])
    assert failed.cause == WorkflowTaskFailedCause.Value(
        "WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND"
    )
