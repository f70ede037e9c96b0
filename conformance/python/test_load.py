"""Many messages for one workflow."""

import asyncio
import os
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.service import RetryConfig, RPCError, RPCStatusCode

from rig import kinds, of_kind, until


@workflow.defn
class Counter:
    """Keeps the numbers it is sent."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.closed = False

    @workflow.run
    async def run(self) -> list[int]:
        await workflow.wait_condition(lambda: self.closed and workflow.all_handlers_finished())
        return self.numbers

    @workflow.signal
    def send(self, number: int) -> None:
        self.numbers.append(number)

    @workflow.update
    async def add(self, number: int) -> int:
        self.numbers.append(number)
        return number

    @workflow.update
    def close(self) -> int:
        self.closed = True
        return len(self.numbers)

    @workflow.query
    def count(self) -> int:
        return len(self.numbers)


@pytest.mark.limit(150)
@pytest.mark.one_cache("a thousand replays of a history of thousands of events take minutes")
async def test_a_thousand_updates_at_once_are_each_done_once(rig):
    """The server takes ten at a time and turns the others away; the client has patience."""
    patient = await Client.connect(
        os.environ["PERDURE_ADDRESS"],
        retry_config=RetryConfig(max_retries=1_000_000, max_elapsed_time_millis=None),
    )
    async with rig.worker(Counter):
        handle = await rig.start(Counter.run)
        caller = patient.get_workflow_handle_for(Counter.run, handle.id)
        numbers = list(range(1000))
        updates = (caller.execute_update(Counter.add, n, id=f"u{n}") for n in numbers)
        assert await asyncio.gather(*updates) == numbers
        assert await handle.execute_update(Counter.close) == 1000
        assert sorted(await handle.result()) == numbers
    events = await rig.events(handle)
    assert len(of_kind(events, "workflow_execution_update_completed")) == 1001


@pytest.mark.limit(150)
@pytest.mark.one_cache("a hundred replays of a history of thousands of events take minutes")
async def test_ten_thousand_signals_all_arrive_and_one_more_is_refused(rig):
    numbers = range(10_000)
    async with rig.worker(Counter):
        handle = await rig.start(Counter.run)
        # In groups that are smaller than what the server buffers while a workflow task is under way.
        for first in numbers[::80]:
            group = numbers[first : first + 80]
            await asyncio.gather(*(handle.signal(Counter.send, number) for number in group))
            assert await handle.query(Counter.count) == group.stop
        with pytest.raises(RPCError) as caught:
            await handle.signal(Counter.send, 10_000, rpc_timeout=timedelta(seconds=2))
        # The reference refuses for good. Perdure asks to try again, which this SDK does until its time is up: the next run
        # would take it (docs/deviations.md).
        if caught.value.status == RPCStatusCode.INVALID_ARGUMENT:
            assert "exceeded workflow execution limit for signal events" in caught.value.message
        else:
            assert caught.value.status in (RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)
        assert await handle.execute_update(Counter.close) == 10_000
        assert sorted(await handle.result()) == list(numbers)
    assert len(of_kind(await rig.events(handle), "workflow_execution_signaled")) == 10_000


@pytest.mark.one_cache("each workflow task in the flood would replay all before it")
async def test_a_flood_of_signals_that_outruns_the_worker_arrives_whole(rig):
    """The worker shares this process with the senders and falls behind. When more than a hundred signals are buffered,
    the server gives up on the workflow task under way; the next has them all."""
    numbers = list(range(1500))
    async with rig.worker(Counter, debug_mode=True):
        handle = await rig.start(Counter.run)
        await asyncio.gather(*(handle.signal(Counter.send, number) for number in numbers))
        await until_counted(handle, len(numbers))
        assert await handle.execute_update(Counter.close) == len(numbers)
        assert sorted(await handle.result()) == numbers


async def until_counted(handle, count: int) -> None:
    """Waits for an answer: while workflow tasks fail in a row, the server gives none."""

    async def counted() -> bool:
        try:
            return await handle.query(Counter.count) == count
        except RPCError as err:
            assert err.status == RPCStatusCode.FAILED_PRECONDITION
            return False

    await until(counted)


async def test_a_thousand_signals_from_before_the_first_workflow_task_arrive_in_order(rig):
    handle = await rig.start(Counter.run)
    for number in range(1000):
        await handle.signal(Counter.send, number)
    close = await rig.admit(handle, Counter.close, id="close")
    async with rig.worker(Counter, debug_mode=True):
        assert await close == 1000
        assert await handle.result() == list(range(1000))
    assert kinds(await rig.events(handle))[-4:] == [
        "workflow_task_completed",
        "workflow_execution_update_accepted",
        "workflow_execution_update_completed",
        "workflow_execution_completed",
    ]
