"""Replays of histories with messages, by code that is the same, and by code that is not."""

from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from rig import attributes, of_kind, one

SOON = timedelta(seconds=30)


@activity.defn
async def polish() -> None:
    pass


@activity.defn
async def repair() -> None:
    pass


@workflow.defn(name="Workshop")
class Workshop:
    """Does something with an activity for every message."""

    made = 0  # objects made in this process, which is one for each run until something is replayed

    def __init__(self) -> None:
        Workshop.made += 1
        self.log: list[str] = []
        self.closed = False

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.closed and workflow.all_handlers_finished())
        return self.log

    @workflow.signal
    async def bring(self, what: str) -> None:
        await workflow.execute_activity(polish, start_to_close_timeout=SOON)
        self.log.append(what)

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.update
    async def order(self, what: str) -> int:
        await workflow.execute_activity(polish, start_to_close_timeout=SOON)
        self.log.append(what)
        return len(self.log)

    @order.validator
    def check_order(self, what: str) -> None:
        if what == "bad":
            raise ValueError("a bad order")

    @workflow.query
    def read(self) -> list[str]:
        return self.log


@workflow.defn(name="Workshop")
class SignalHandlerRenamed(Workshop):
    """Signals by the name of "bring" come to another handler, which does the same."""

    @workflow.run
    async def run(self) -> list[str]:
        return await super().run()

    @workflow.signal(name="bring")
    async def bring(self, what: str) -> None:
        await self.take_over(what)

    async def take_over(self, what: str) -> None:
        await workflow.execute_activity(polish, start_to_close_timeout=SOON)
        self.log.append(what.upper())


@workflow.defn(name="Workshop")
class SignalHandlerChanged(Workshop):
    """Does another thing first."""

    @workflow.run
    async def run(self) -> list[str]:
        return await super().run()

    @workflow.signal
    async def bring(self, what: str) -> None:
        await workflow.execute_activity(repair, start_to_close_timeout=SOON)
        await workflow.execute_activity(polish, start_to_close_timeout=SOON)


@workflow.defn(name="Workshop")
class UpdateHandlerGone:
    """Does not take orders any more."""

    def __init__(self) -> None:
        self.closed = False

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.closed and workflow.all_handlers_finished())
        return []

    @workflow.signal
    def close(self) -> None:
        self.closed = True


async def replay(handle, by: type) -> None:
    replayer = Replayer(workflows=[by], workflow_runner=UnsandboxedWorkflowRunner())
    await replayer.replay_workflow(await handle.fetch_history())


async def test_m032_a_handler_that_commands_something_else_is_non_deterministic_one_that_commands_the_same_is_not(
    rig,
):
    async with rig.worker(Workshop, activities=[polish]):
        handle = await rig.start(Workshop.run)
        await handle.signal(Workshop.bring, "cup")
        await handle.signal(Workshop.close)
        assert await handle.result() == ["cup"]
    await replay(handle, SignalHandlerRenamed)
    with pytest.raises(workflow.NondeterminismError):
        await replay(handle, SignalHandlerChanged)


async def test_m240_updates_replay_from_history_alone_and_not_without_their_handler(rig):
    async with rig.worker(Workshop, activities=[polish]):
        handle = await rig.start(Workshop.run)
        assert await handle.execute_update(Workshop.order, "cup") == 1
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(Workshop.order, "bad")
        assert await handle.execute_update(Workshop.order, "plate") == 2
        await handle.signal(Workshop.close)
        assert await handle.result() == ["cup", "plate"]
    events = await rig.events(handle)
    assert len(of_kind(events, "workflow_execution_update_completed")) == 2
    await replay(handle, Workshop)
    with pytest.raises(workflow.NondeterminismError):
        await replay(handle, UpdateHandlerGone)


async def test_m241_an_update_that_a_reset_applied_again_replays(rig):
    """The update alone: with a signal in the same workflow task, this SDK makes its commands in another order when it
    replays than when it does not."""
    async with rig.worker(Workshop, activities=[polish]):
        handle = await rig.start(Workshop.run)
        first_task = await rig.seen(handle, "workflow_task_completed")
        assert await handle.execute_update(Workshop.order, "cup", id="u") == 1
        response = await rig.client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace=rig.client.namespace,
                workflow_execution=WorkflowExecution(
                    workflow_id=handle.id, run_id=handle.result_run_id
                ),
                reason="to see what is applied again",
                workflow_task_finish_event_id=first_task.event_id,
                request_id="the only reset",
            )
        )
        reset = rig.client.get_workflow_handle(handle.id, run_id=response.run_id)
        assert await reset.get_update_handle("u").result() == 1
        await reset.signal(Workshop.close)
        assert await reset.result() == ["cup"]
    events = await rig.events(reset)
    admitted = attributes(one(events, "workflow_execution_update_admitted"))
    assert admitted.request.meta.update_id == "u"
    accepted = attributes(one(events, "workflow_execution_update_accepted"))
    assert not accepted.HasField("accepted_request")
    await replay(reset, Workshop)


async def test_m242_a_cached_workflow_goes_on_after_workflow_tasks_that_vanished(rig):
    async with rig.worker(Workshop, activities=[polish]):
        handle = await rig.start(Workshop.run)
        await rig.seen(handle, "workflow_task_completed")
        Workshop.made = 0
        for i in range(1, 4):
            before = await rig.events(handle)
            for _ in range(3):
                with pytest.raises(WorkflowUpdateFailedError):
                    await handle.execute_update(Workshop.order, "bad")
            assert await rig.events(handle) == before
            assert await handle.execute_update(Workshop.order, str(i)) == i
            assert await handle.query(Workshop.read) == [str(n + 1) for n in range(i)]
        if rig.cached:
            assert Workshop.made == 0
        await handle.signal(Workshop.close)
        assert await handle.result() == ["1", "2", "3"]
    assert not of_kind(await rig.events(handle), "workflow_task_failed")
