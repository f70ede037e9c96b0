"""Updates as their callers see them, and what they do when runs end."""

import asyncio
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.client import (
    Interceptor,
    OutboundInterceptor,
    WithStartWorkflowOperation,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.common import RetryPolicy, WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

import baggage
from rig import attributes, kind, kinds, of_kind, one, until


@workflow.defn
class Account:
    """Takes deposits, if they are positive."""

    def __init__(self) -> None:
        self.balance = 0
        self.released = False
        self.closed = False

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.closed and workflow.all_handlers_finished())
        return self.balance

    @workflow.signal
    def release(self) -> None:
        self.released = True

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.query
    def read(self) -> int:
        return self.balance

    @workflow.update
    def deposit(self, amount: int) -> int:
        self.balance += amount
        return self.balance

    @deposit.validator
    def check_deposit(self, amount: int) -> None:
        if amount <= 0:
            raise ValueError(f"{amount} is not positive")

    @workflow.update
    async def deposit_when_released(self, amount: int) -> int:
        await workflow.wait_condition(lambda: self.released)
        self.balance += amount
        return self.balance

    @workflow.update
    def with_baggage(self) -> str:
        return baggage.current.get()

    @workflow.update
    async def overdraw(self, amount: int) -> int:
        await workflow.sleep(0.01)
        raise ApplicationError("there is not enough", amount, type="Overdrawn", non_retryable=True)


async def test_m146_a_rejected_update_gives_a_handle_whose_result_is_the_validators_error(rig):
    async with rig.worker(Account):
        handle = await rig.start(Account.run)
        update = await rig.accepted(handle, Account.deposit, -1)
        for _ in range(2):
            with pytest.raises(WorkflowUpdateFailedError) as caught:
                await update.result()
            cause = caught.value.cause
            assert isinstance(cause, ApplicationError)
            assert (cause.type, cause.message) == ("ValueError", "-1 is not positive")


async def test_m147_a_caller_that_stops_waiting_does_not_stop_the_update(rig):
    async with rig.worker(Account):
        handle = await rig.start(Account.run)
        with pytest.raises(WorkflowUpdateRPCTimeoutOrCancelledError):
            await handle.execute_update(
                Account.deposit_when_released, 3, id="a", rpc_timeout=timedelta(seconds=0.3)
            )
        caller = asyncio.create_task(
            handle.execute_update(Account.deposit_when_released, 4, id="b")
        )
        await until(lambda: _is_accepted(rig, handle, "b"))
        caller.cancel()
        with pytest.raises(WorkflowUpdateRPCTimeoutOrCancelledError):
            await caller
        await handle.signal(Account.release)
        results = [await handle.get_update_handle(id, result_type=int).result() for id in "ab"]
        assert sorted(results) in ([3, 7], [4, 7])
        assert await handle.query(Account.read) == 7


async def _is_accepted(rig, handle, id: str) -> bool:
    return await rig.stage(handle, id) == WorkflowUpdateStage.ACCEPTED


class Depositing:
    def __init__(self, client) -> None:
        self.client = client

    @activity.defn
    async def deposit_from_activity(self, amount: int) -> int:
        handle = self.client.get_workflow_handle(activity.info().workflow_id)
        return await handle.execute_update("deposit", amount)


@workflow.defn
class SelfService(Account):
    """Deposits into itself, by way of an activity."""

    @workflow.run
    async def run(self) -> int:
        for amount in (1, 2, 3):
            told: int = await workflow.execute_activity(
                "deposit_from_activity", amount, start_to_close_timeout=timedelta(seconds=30)
            )
            assert told == self.balance, "the update came before the result of its activity"
        return self.balance


async def test_m148_an_activity_may_update_its_own_workflow_which_sees_that_before_the_result(rig):
    async with rig.worker(SelfService, activities=[Depositing(rig.client).deposit_from_activity]):
        assert await rig.execute(SelfService.run) == 6


async def _is_abandoned(update) -> None:
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await update
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "AcceptedUpdateCompletedWorkflow"
    assert cause.non_retryable


async def _is_aborted(update) -> None:
    with pytest.raises(RPCError) as caught:
        await update
    assert caught.value.status == RPCStatusCode.NOT_FOUND


async def test_m181_an_update_ends_with_its_terminated_or_timed_out_run(rig):
    short = timedelta(seconds=1)
    admitted = [await rig.start(Account.run), await rig.start(Account.run, run_timeout=short)]
    waiting = [await rig.admit(h, Account.deposit_when_released, 1, id="u") for h in admitted]
    await admitted[0].terminate()
    # Both end before there is a worker that could accept.
    for update in waiting:
        await _is_aborted(update)
    async with rig.worker(Account):
        accepted = [await rig.start(Account.run), await rig.start(Account.run, run_timeout=short)]
        updates = [await rig.accepted(h, Account.deposit_when_released, 1) for h in accepted]
        await accepted[0].terminate()
        for handle, update in zip(accepted, updates):
            await _is_abandoned(update.result())
            await _is_abandoned(handle.get_update_handle(update.id).result())  # and again
    ends = [kind((await rig.events(handle))[-1]) for handle in admitted + accepted]
    assert ends == ["workflow_execution_terminated", "workflow_execution_timed_out"] * 2


async def test_m182_an_update_from_before_a_run_timed_out_runs_on_the_retry(rig):
    handle = await rig.start(
        Account.run,
        run_timeout=timedelta(seconds=3),
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100)),
    )
    update = await rig.admit(handle, Account.deposit, 5, id="u")
    first = rig.run_of(handle)
    await until(lambda: _ended_with(rig, first, "workflow_execution_timed_out"))
    async with rig.worker(Account):
        assert await update == 5
        assert not of_kind(await rig.events(first), "workflow_execution_update_accepted")
        retried = await rig.events(handle)
        one(retried, "workflow_execution_update_completed")
        assert attributes(retried[0]).continued_execution_run_id == handle.result_run_id
        await handle.signal(Account.close)
        assert await handle.result() == 5


async def _ended_with(rig, handle, wanted: str) -> bool:
    return kind((await rig.events(handle))[-1]) == wanted


async def test_m230_an_error_after_acceptance_is_an_outcome_in_history_and_for_the_caller(rig):
    async with rig.worker(Account):
        handle = await rig.start(Account.run)
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await handle.execute_update(Account.overdraw, 7)
        cause = caught.value.cause
        assert isinstance(cause, ApplicationError)
        assert (cause.type, cause.message, list(cause.details)) == (
            "Overdrawn",
            "there is not enough",
            [7],
        )
        events = await rig.events(handle)
        accepted = one(events, "workflow_execution_update_accepted")
        completed = attributes(one(events, "workflow_execution_update_completed"))
        assert completed.accepted_event_id == accepted.event_id
        assert completed.outcome.failure.message == "there is not enough"
        assert not of_kind(events, "workflow_task_failed")
        await handle.signal(Account.close)
        assert await handle.result() == 0


async def test_a_header_set_by_the_client_reaches_the_update_interceptor(rig):
    async with rig.worker(Account, interceptors=[baggage.InWorker()]):
        handle = await rig.start(Account.run)
        client = rig.client_with(None, baggage.FromClient("from the client"))
        update = client.get_workflow_handle(handle.id).execute_update(Account.with_baggage)
        assert await update == "from the client"


class _Counting(Interceptor):
    """Notes every update-with-start that leaves for the server."""

    def __init__(self, calls: list) -> None:
        self.calls = calls

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _CountingOutbound(next, self.calls)


class _CountingOutbound(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, calls: list) -> None:
        super().__init__(next)
        self.calls = calls

    async def start_update_with_start_workflow(self, input):
        self.calls.append(input)
        return await super().start_update_with_start_workflow(input)


def _start_operation(rig, id: str, policy=WorkflowIDConflictPolicy.USE_EXISTING, **more):
    return WithStartWorkflowOperation(
        Account.run, id_conflict_policy=policy, **(rig.options(id) | more)
    )


async def test_update_with_start_starts_what_is_not_there_and_finds_what_is(rig):
    async with rig.worker(Account):
        runs = []
        for want in (5, 10):
            start = _start_operation(rig, "x")
            got = await rig.client.execute_update_with_start_workflow(
                Account.deposit, 5, start_workflow_operation=start
            )
            assert got == want
            runs.append((await start.workflow_handle()).result_run_id)
        assert runs[0] == runs[1]
        handle = await start.workflow_handle()
        assert kinds(await rig.events(handle))[:6] == [
            "workflow_execution_started",
            "workflow_task_scheduled",
            "workflow_task_started",
            "workflow_task_completed",
            "workflow_execution_update_accepted",
            "workflow_execution_update_completed",
        ]
        await handle.signal(Account.close)
        assert await handle.result() == 10


async def test_update_with_start_that_is_rejected_leaves_the_workflow_started(rig):
    async with rig.worker(Account):
        start = _start_operation(rig, "x")
        with pytest.raises(WorkflowUpdateFailedError):
            await rig.client.execute_update_with_start_workflow(
                Account.deposit, -5, start_workflow_operation=start
            )
        handle = await start.workflow_handle()
        assert await handle.execute_update(Account.deposit, 1) == 1


async def test_m204_update_with_start_wants_a_conflict_policy_and_an_operation_of_its_own(rig):
    calls = []
    client = rig.client_with(None, _Counting(calls))
    options = rig.options("x")
    with pytest.raises(TypeError, match="id_conflict_policy"):
        WithStartWorkflowOperation(Account.run, **options)
    with pytest.raises(ValueError, match="WorkflowIDConflictPolicy is required"):
        WithStartWorkflowOperation(
            Account.run, id_conflict_policy=WorkflowIDConflictPolicy.UNSPECIFIED, **options
        )
    async with rig.worker(Account):
        start = _start_operation(rig, "x")
        assert (
            await client.execute_update_with_start_workflow(
                Account.deposit, 1, start_workflow_operation=start
            )
            == 1
        )
        with pytest.raises(RuntimeError, match="cannot be reused"):
            await client.execute_update_with_start_workflow(
                Account.deposit, 1, start_workflow_operation=start
            )
        assert len(calls) == 1
        assert await (await start.workflow_handle()).query(Account.read) == 1


async def test_m205_a_workflow_that_runs_already_is_told_as_that_by_call_and_operation(rig):
    async with rig.worker(Account):
        running = await rig.start(Account.run, id="x")
        start = _start_operation(rig, "x", WorkflowIDConflictPolicy.FAIL)
        with pytest.raises(WorkflowAlreadyStartedError) as caught:
            await rig.client.execute_update_with_start_workflow(
                Account.deposit, 1, start_workflow_operation=start
            )
        assert caught.value.workflow_id == running.id
        assert caught.value.run_id == running.result_run_id
        with pytest.raises(WorkflowAlreadyStartedError):
            await start.workflow_handle()
        assert await running.query(Account.read) == 0
