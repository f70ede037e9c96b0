"""What updates leave in history and tell their callers, step by step."""

import asyncio
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.client import (
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from rig import QUICK, Hold, attributes, kind, kinds, of_kind, until

SCHEDULED = "workflow_task_scheduled"
STARTED = "workflow_task_started"
COMPLETED = "workflow_task_completed"
FAILED = "workflow_task_failed"
TIMED_OUT = "workflow_task_timed_out"
ACCEPTED = "workflow_execution_update_accepted"
UPDATED = "workflow_execution_update_completed"
SIGNALED = "workflow_execution_signaled"
TASK = [SCHEDULED, STARTED, COMPLETED]


@workflow.defn
class Ledger:
    """Adds entries at once, or when a gate opens."""

    breakdowns = 0  # how many more workflow tasks break over an update

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.gates: set[str] = set()
        self.closed = False

    @workflow.run
    async def run(self, run: int = 1) -> list[str]:
        await workflow.wait_condition(lambda: self.closed or "next run" in self.gates)
        if "next run" in self.gates:
            workflow.continue_as_new(run + 1)
        return self.entries

    @workflow.signal
    def open(self, gate: str) -> None:
        self.gates.add(gate)

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.signal
    async def hold(self) -> None:
        await workflow.execute_local_activity("hold", start_to_close_timeout=timedelta(seconds=30))

    @workflow.query
    def all(self) -> list[str]:
        return self.entries

    @workflow.update
    def add(self, entry: str) -> int:
        self.entries.append(entry)
        return len(self.entries)

    @add.validator
    def check(self, entry: str) -> None:
        if entry == "bad":
            raise ValueError("a bad entry")

    @workflow.update
    async def add_after(self, gate: str, entry: str) -> int:
        await workflow.wait_condition(lambda: gate in self.gates)
        self.entries.append(entry)
        return len(self.entries)

    @workflow.update
    async def add_after_a_moment(self, entry: str) -> int:
        await workflow.sleep(0.01)
        self.entries.append(entry)
        return len(self.entries)

    @workflow.update
    def add_or_break(self, entry: str) -> int:
        if Ledger.breakdowns > 0:
            Ledger.breakdowns -= 1
            raise RuntimeError("a breakdown")
        self.entries.append(entry)
        return len(self.entries)

    @workflow.update
    async def close_under_me(self) -> None:
        self.closed = True
        await workflow.wait_condition(lambda: False)

    @workflow.update
    def close_and_say(self) -> str:
        self.closed = True
        return "said"


async def idle(rig, **options):
    """Starts a ledger and waits until its first workflow task is over: events 1 to 4."""
    handle = await rig.start(Ledger.run, **options)
    await rig.seen(handle, COMPLETED)
    return handle


async def rejection(update) -> ApplicationError:
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await update
    assert isinstance(caught.value.cause, ApplicationError)
    return caught.value.cause


async def rpc_error(call) -> RPCError:
    with pytest.raises(RPCError) as caught:
        await call
    return caught.value


SEQUENCES = []


def sequence(function):
    SEQUENCES.append(function)
    return function


# The events of one update.


@sequence
async def update_in_the_first_workflow_task(rig):  # M-109, M-123
    handle = await rig.start(Ledger.run)
    update = await rig.admit(handle, Ledger.add, "a", id="u")
    async with rig.worker(Ledger):
        assert await update == 1
    events = await rig.events(handle)
    assert kinds(events) == ["workflow_execution_started", *TASK, ACCEPTED, UPDATED]
    accepted = attributes(events[4])
    assert accepted.protocol_instance_id == "u"
    assert accepted.accepted_request_sequencing_event_id == 2
    request = accepted.accepted_request
    assert (request.meta.update_id, request.input.name) == ("u", "add")
    assert [p.data for p in request.input.args.payloads] == [b'"a"']
    completed = attributes(events[5])
    assert completed.accepted_event_id == 5
    assert completed.meta.update_id == "u"
    assert [p.data for p in completed.outcome.success.payloads] == [b"1"]


@sequence
async def rejection_in_the_first_workflow_task(rig):  # M-110
    handle = await rig.start(Ledger.run)
    update = await rig.admit(handle, Ledger.add, "bad", id="u")
    async with rig.worker(Ledger):
        assert (await rejection(update)).message == "a bad entry"
    assert kinds(await rig.events(handle)) == ["workflow_execution_started", *TASK]


@sequence
async def update_of_an_idle_run(rig):  # M-111
    async with rig.worker(Ledger):
        handle = await idle(rig)
        assert await handle.execute_update(Ledger.add, "a") == 1
    events = await rig.events(handle)
    assert kinds(events)[4:] == [*TASK, ACCEPTED, UPDATED]
    assert attributes(events[7]).accepted_request_sequencing_event_id == 5
    assert attributes(events[8]).accepted_event_id == 8


@sequence
async def rejection_by_an_idle_run(rig):  # M-112, M-125
    async with rig.worker(Ledger):
        handle = await idle(rig)
        for _ in range(3):
            await rejection(handle.execute_update(Ledger.add, "bad"))
        assert len(await rig.events(handle)) == 4
        await handle.signal(Ledger.open, "x")
        assert await handle.execute_update(Ledger.add, "a") == 1
    events = await rig.events(handle)
    assert kind(events[4]) == SIGNALED
    assert not of_kind(events, "workflow_execution_update_rejected")
    assert not of_kind(events, FAILED)


@sequence
async def update_that_takes_two_workflow_tasks(rig):  # M-116, M-120
    async with rig.worker(Ledger):
        handle = await idle(rig)
        assert await handle.execute_update(Ledger.add_after_a_moment, "a") == 1
    events = await rig.events(handle)
    assert kinds(events)[4:] == [*TASK, ACCEPTED, "timer_started", "timer_fired", *TASK, UPDATED]
    assert attributes(events[-1]).accepted_event_id == 8


@sequence
async def updates_that_complete_in_another_order(rig):  # M-117
    async with rig.worker(Ledger):
        handle = await idle(rig)
        first = await rig.accepted(handle, Ledger.add_after, "1", "a")
        second = await rig.accepted(handle, Ledger.add_after, "2", "b")
        await handle.signal(Ledger.open, "2")
        assert await second.result() == 1
        await handle.signal(Ledger.open, "1")
        assert await first.result() == 2
    events = await rig.events(handle)
    order = [kind(e) for e in events if kind(e) in (ACCEPTED, UPDATED)]
    assert order == [ACCEPTED, ACCEPTED, UPDATED, UPDATED]
    ids = [attributes(e).meta.update_id for e in of_kind(events, UPDATED)]
    assert ids == [second.id, first.id]


@sequence
async def one_accepted_and_one_rejected_together(rig):  # M-118
    async with rig.worker(Ledger):
        handle = await idle(rig)
    good = await rig.admit(handle, Ledger.add, "a", id="good")
    bad = await rig.admit(handle, Ledger.add, "bad", id="bad")
    async with rig.worker(Ledger):
        assert await good == 1
        await rejection(bad)
    assert kinds(await rig.events(handle))[4:] == [*TASK, ACCEPTED, UPDATED]


@sequence
async def updates_reach_the_handlers_in_the_order_of_their_admission(rig):  # M-121
    handle = await rig.start(Ledger.run)
    letters = "ABCDEFGHIJ"
    updates = [await rig.admit(handle, Ledger.add, letter, id=letter) for letter in letters]
    async with rig.worker(Ledger):
        assert await asyncio.gather(*updates) == list(range(1, 11))
        assert await handle.query(Ledger.all) == list(letters)


# Updates and workflow tasks.


@sequence
async def update_while_a_workflow_task_is_scheduled(rig):  # M-114
    handle = await rig.start(Ledger.run)
    await handle.signal(Ledger.open, "x")
    update = await rig.admit(handle, Ledger.add, "a", id="u")
    async with rig.worker(Ledger):
        assert await update == 1
    assert kinds(await rig.events(handle)) == [
        "workflow_execution_started",
        SCHEDULED,
        SIGNALED,
        STARTED,
        COMPLETED,
        ACCEPTED,
        UPDATED,
    ]


@sequence
async def update_while_a_workflow_task_is_under_way(rig):  # M-115
    held = Hold()
    async with rig.worker(Ledger, activities=[held.hold]):
        handle = await rig.start(Ledger.run, start_signal="hold")
        await held.entered.wait()
        update = await rig.admit(handle, Ledger.add, "a", id="u")
        assert kinds(await rig.events(handle))[-1] == STARTED
        held.left.set()
        assert await update == 1
    assert kinds(await rig.events(handle))[5:] == ["marker_recorded", *TASK, ACCEPTED, UPDATED]


@sequence
async def signal_while_an_update_waits_for_a_worker(rig):  # M-149
    async with rig.worker(Ledger):
        handle = await idle(rig)
    update = await rig.admit(handle, Ledger.add, "bad", id="u")
    await handle.signal(Ledger.open, "x")
    assert kinds(await rig.events(handle))[4:] == [SCHEDULED, SIGNALED]
    async with rig.worker(Ledger):
        await rejection(update)
    assert kinds(await rig.events(handle))[4:] == [SCHEDULED, SIGNALED, STARTED, COMPLETED]


@sequence
async def signal_while_a_worker_has_the_update(rig):  # M-150
    async with rig.worker(Ledger):
        handle = await idle(rig, task_timeout=QUICK)
    update = await rig.admit(handle, Ledger.add, "a", id="u")
    task = await rig.take_workflow_task(handle)
    assert [message.protocol_instance_id for message in task.messages] == ["u"]
    await handle.signal(Ledger.open, "x")
    assert kinds(await rig.events(handle))[4:] == [SCHEDULED, STARTED]
    async with rig.worker(Ledger):
        assert await update == 1
    assert kinds(await rig.events(handle))[4:9] == [
        SCHEDULED,
        STARTED,
        TIMED_OUT,
        SIGNALED,
        SCHEDULED,
    ]


@sequence
async def polls_and_queries_while_an_update_waits(rig):  # M-175, M-079
    async with rig.worker(Ledger):
        handle = await idle(rig)
    update = await rig.admit(handle, Ledger.add, "bad", id="u")
    query = asyncio.create_task(handle.query(Ledger.all))
    assert await rig.stage(handle, "u") == WorkflowUpdateStage.ADMITTED
    async with rig.worker(Ledger):
        await rejection(update)
        assert await query == []
    assert len(await rig.events(handle)) == 4


@sequence
async def workflow_task_that_breaks_over_updates(rig):  # M-156, M-174
    async with rig.worker(Ledger):
        handle = await idle(rig)
    Ledger.breakdowns = 1
    first = await rig.admit(handle, Ledger.add_or_break, "a", id="1")
    second = await rig.admit(handle, Ledger.add_or_break, "b", id="2")
    async with rig.worker(Ledger):
        assert await first == 1
        assert await second == 2
    events = await rig.events(handle)
    assert kinds(events)[4:7] == [SCHEDULED, STARTED, FAILED]
    assert kinds(events)[-4:] == [ACCEPTED, UPDATED, ACCEPTED, UPDATED]
    assert [attributes(e).protocol_instance_id for e in of_kind(events, ACCEPTED)] == ["1", "2"]


@sequence
async def workflow_task_that_times_out_with_an_update(rig):  # M-157
    async with rig.worker(Ledger):
        handle = await idle(rig, task_timeout=QUICK)
    update = await rig.admit(handle, Ledger.add, "a", id="u")
    await rig.take_workflow_task(handle)
    await rig.seen(handle, TIMED_OUT)
    async with rig.worker(Ledger):
        assert await update == 1
    events = await rig.events(handle)
    assert kinds(events)[4:] == [SCHEDULED, STARTED, TIMED_OUT, *TASK, ACCEPTED, UPDATED]


@sequence
async def termination_while_an_update_waits(rig):  # M-161
    for taken in (False, True):
        async with rig.worker(Ledger):
            handle = await idle(rig)
        update = await rig.admit(handle, Ledger.add, "a", id="u")
        if taken:
            await rig.take_workflow_task(handle)
        await handle.terminate()
        err = await rpc_error(update)
        assert err.status == RPCStatusCode.NOT_FOUND
        assert err.message == "workflow update was aborted by closing workflow"
        more = [SCHEDULED, STARTED, FAILED] if taken else []
        assert kinds(await rig.events(handle))[4:] == [*more, "workflow_execution_terminated"]


@sequence
async def update_of_a_run_whose_workflow_tasks_keep_failing(rig):  # M-145
    async with rig.worker(Ledger):
        handle = await idle(rig, task_timeout=QUICK)
        Ledger.breakdowns = 1_000_000
        try:
            breaking = await rig.admit(handle, Ledger.add_or_break, "a", id="u")

            async def failed_often() -> bool:
                task = (await handle.describe()).raw_description.pending_workflow_task
                return task.attempt >= 3

            await until(failed_often)
            for id in ("u", "another"):
                err = await rpc_error(handle.execute_update(Ledger.add, "b", id=id))
                assert err.status == RPCStatusCode.FAILED_PRECONDITION
                assert "due to Workflow Task in failed state" in err.message
        finally:
            Ledger.breakdowns = 0

        async def healed() -> bool:
            try:
                return await handle.execute_update(Ledger.add_or_break, "a", id="u") == 1
            except RPCError as err:
                assert err.status == RPCStatusCode.FAILED_PRECONDITION
                return False

        await until(healed)
        # Its first caller got the same result, or had to ask again, as others had.
        first = (await asyncio.gather(breaking, return_exceptions=True))[0]
        assert first == 1 or first.status == RPCStatusCode.FAILED_PRECONDITION
        assert await handle.query(Ledger.all) == ["a"]


# Waiting, asking again, asking twice.


@sequence
async def waiting_for_acceptance_and_then_for_the_result(rig):  # M-126, M-127, M-129
    async with rig.worker(Ledger):
        handle = await idle(rig)
        update = await rig.accepted(handle, Ledger.add_after, "g", "a", id="u")
        assert await rig.stage(handle, "u") == WorkflowUpdateStage.ACCEPTED
        await handle.signal(Ledger.open, "g")
        assert await update.result() == 1
        assert await rig.stage(handle, "u") == WorkflowUpdateStage.COMPLETED
        at_once = await rig.accepted(handle, Ledger.add, "b")
        assert await at_once.result() == 2
        rejected = await rig.accepted(handle, Ledger.add, "bad")
        await rejection(rejected.result())


@sequence
async def waiting_for_admission_is_refused_by_the_client(rig):  # M-133
    handle = await rig.start(Ledger.run)
    with pytest.raises(ValueError, match="ADMITTED"):
        await handle.start_update(Ledger.add, "a", wait_for_stage=WorkflowUpdateStage.ADMITTED)


@sequence
async def impatient_caller_without_a_worker(rig):  # M-132
    handle = await rig.start(Ledger.run)
    with pytest.raises(WorkflowUpdateRPCTimeoutOrCancelledError):
        await handle.execute_update(Ledger.add, "a", id="u", rpc_timeout=timedelta(seconds=0.3))
    assert await rig.stage(handle, "u") == WorkflowUpdateStage.ADMITTED
    async with rig.worker(Ledger):
        assert await handle.get_update_handle("u").result() == 1


@sequence
async def polling_for_unknown_and_rejected_updates(rig):  # M-135
    async with rig.worker(Ledger):
        handle = await idle(rig)
        await rejection(handle.execute_update(Ledger.add, "bad", id="rejected"))
        for id in ("unknown", "rejected"):
            err = await rpc_error(handle.get_update_handle(id).result())
            assert (err.status, err.message) == (
                RPCStatusCode.NOT_FOUND,
                f'update "{id}" not found',
            )


@sequence
async def one_id_many_calls(rig):  # M-136, M-137, M-138, M-141, M-144
    async with rig.worker(Ledger):
        handle = await idle(rig)
        first = await rig.accepted(handle, Ledger.add_after, "g", "a", id="u")
        second = asyncio.create_task(
            handle.execute_update(Ledger.add_after, args=["g", "other arguments"], id="u")
        )
        await handle.signal(Ledger.open, "g")
        assert await first.result() == await second == 1
        events = await rig.events(handle)
        # After completion: the stored outcome, whatever the arguments and the name, and no workflow task.
        assert await handle.execute_update(Ledger.add_after, args=["h", "b"], id="u") == 1
        assert await handle.execute_update(Ledger.add, "c", id="u") == 1
        assert await handle.get_update_handle("u").result() == 1
        assert await rig.events(handle) == events
        await handle.signal(Ledger.close)
        assert await handle.result() == ["a"]
    assert await handle.execute_update(Ledger.add, "d", id="u") == 1
    assert await handle.get_update_handle("u").result() == 1
    err = await rpc_error(handle.execute_update(Ledger.add, "e", id="fresh"))
    assert err.status == RPCStatusCode.NOT_FOUND
    assert err.message == "workflow execution already completed"


@sequence
async def rejections_are_not_remembered(rig):  # M-139
    async with rig.worker(Ledger):
        handle = await idle(rig)
        await rejection(handle.execute_update(Ledger.add, "bad", id="u"))
        assert await handle.execute_update(Ledger.add, "good", id="u") == 1


@sequence
async def next_run_of_the_chain(rig):  # M-140, M-143
    async with rig.worker(Ledger):
        handle = await idle(rig)
        assert await handle.execute_update(Ledger.add, "a", id="u") == 1
        await handle.signal(Ledger.open, "next run")
        await rig.seen(rig.run_of(handle), "workflow_execution_continued_as_new")
        # The handle knows the chain by its first run.
        # The reference's next run does not know "u" and applies it. Perdure remembers it along the chain and answers with what
        # it did in the run that took it (docs/deviations.md).
        assert await handle.execute_update(Ledger.add, "b", id="u") == 1
        applied = await handle.query(Ledger.all)
        assert applied in ([], ["b"])
        assert await handle.execute_update(Ledger.add, "c", id="v") == len(applied) + 1
        stranger = await idle(rig)
        wrong = rig.client.get_workflow_handle(
            handle.id, first_execution_run_id=stranger.result_run_id
        )
        err = await rpc_error(wrong.execute_update("add", "c"))
        assert err.status == RPCStatusCode.NOT_FOUND
        of_old_run = rig.run_of(handle).get_update_handle("u")
        assert await of_old_run.result() == 1


# Closing under an update.


@sequence
async def close_right_after_acceptance(rig):  # M-128, M-178
    async with rig.worker(Ledger):
        handle = await idle(rig)
        update = await rig.accepted(handle, Ledger.close_under_me)
        for _ in range(2):
            failure = await rejection(update.result())
            assert failure.type == "AcceptedUpdateCompletedWorkflow"
            assert failure.non_retryable
            update = handle.get_update_handle(update.id)
    assert kinds(await rig.events(handle))[4:] == [*TASK, ACCEPTED, "workflow_execution_completed"]


@sequence
async def completion_and_close_together(rig):  # M-179
    async with rig.worker(Ledger):
        handle = await idle(rig)
        assert await handle.execute_update(Ledger.close_and_say) == "said"
    events = await rig.events(handle)
    assert kinds(events)[4:] == [*TASK, ACCEPTED, UPDATED, "workflow_execution_completed"]


@sequence
async def arguments_that_are_too_large_to_be_accepted(rig):  # M-171
    # The worker would refuse to send the acceptance, which repeats the arguments. Here the server is to refuse it.
    async with rig.worker(Ledger, disable_payload_error_limit=True):
        handle = await idle(rig)
        await rpc_error(handle.execute_update(Ledger.add, "x" * (2 * 1024 * 1024 + 1)))
        await rig.seen(handle, "workflow_execution_terminated")
    assert kinds(await rig.events(handle))[4:] == [
        SCHEDULED,
        STARTED,
        FAILED,
        "workflow_execution_terminated",
    ]


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda function: function.__name__)
async def test_m244_updates_do_the_same_with_and_without_cached_workflows(rig, sequence):
    """Of the statements on updates those that can be seen through this SDK, with the worker's cache and without."""
    await sequence(rig)
