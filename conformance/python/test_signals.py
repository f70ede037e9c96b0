"""Signals from clients, and signal-with-start."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

import baggage
from rig import QUICK, attributes, kind, kinds, of_kind, one, until


@workflow.defn
class Diary:
    """Writes down what it is told until it is closed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.closed = False

    @workflow.run
    async def run(self) -> list[str]:
        self.lines.append("main")
        await workflow.wait_condition(lambda: self.closed and workflow.all_handlers_finished())
        return self.lines

    @workflow.signal
    def write(self, line: str) -> None:
        self.lines.append(line)

    @workflow.signal
    async def write_slowly(self, line: str) -> None:
        self.lines.append(f"begin {line}")
        await workflow.wait_condition(lambda: self.closed)
        self.lines.append(f"end {line}")

    @workflow.signal
    def write_three(self, a: int, b: str, c: dict[str, int]) -> None:
        self.lines.append(f"{a} {b} {c}")

    @workflow.signal
    def write_baggage(self) -> None:
        self.lines.append(baggage.current.get())

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.query
    def read(self) -> list[str]:
        return self.lines


async def test_m022_signals_start_their_handlers_in_the_order_sent(rig):
    handle = await rig.start(Diary.run)
    # Both of the first two are there before the first workflow task.
    await handle.signal(Diary.write_slowly, "1")
    await handle.signal(Diary.write_slowly, "2")
    async with rig.worker(Diary):
        for line in ("3", "4"):
            await handle.query(Diary.read)  # a workflow task is over
            await handle.signal(Diary.write_slowly, line)
        await handle.query(Diary.read)
        await handle.signal(Diary.close)
        lines = await handle.result()
    assert [line for line in lines if line.startswith("begin")] == [f"begin {i}" for i in "1234"]
    tasks = 0
    seen = []
    for event in await rig.events(handle):
        tasks += kind(event) == "workflow_task_completed"
        if kind(event) == "workflow_execution_signaled":
            seen.append(tasks)
    assert seen == [0, 0, 1, 2, 3]  # workflow tasks before each signal


async def test_m023_a_signal_from_before_the_worker_is_handled_before_the_main_function(rig):
    handle = await rig.start(Diary.run)
    await handle.signal(Diary.write, "signal")
    await handle.signal(Diary.close)
    async with rig.worker(Diary):
        assert await handle.result() == ["signal", "main"]


@workflow.defn
class LateListener:
    """Handles other signals only when it is told to: a named one, or all."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.closed = False

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.closed)
        return self.heard

    @workflow.signal
    def listen_to(self, name: str) -> None:
        def hear(what: str) -> None:
            self.heard.append(f"{name} {what}")

        workflow.set_signal_handler(name, hear)

    @workflow.signal
    def be_deaf_to(self, name: str) -> None:
        workflow.set_signal_handler(name, None)

    @workflow.signal
    def listen_to_all(self) -> None:
        def hear(name: str, args: Sequence[RawValue]) -> None:
            what = workflow.payload_converter().from_payload(args[0].payload, str)
            self.heard.append(f"any {name} {what}")

        workflow.set_dynamic_signal_handler(hear)

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.query
    def what(self) -> list[str]:
        return self.heard


async def test_m024_a_signal_without_a_handler_is_kept_until_it_gets_one(rig):
    async with rig.worker(LateListener):
        handle = await rig.start(LateListener.run)
        for name, what in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")]:
            await handle.signal(name, what)
        assert await handle.query(LateListener.what) == []
        await handle.signal(LateListener.listen_to, "a")
        assert await handle.query(LateListener.what) == ["a 1", "a 3"]
        await handle.signal(LateListener.listen_to, "b")
        await handle.signal("a", "5")
        await handle.signal(LateListener.close)
        assert await handle.result() == ["a 1", "a 3", "b 2", "a 5"]


async def test_a_dynamic_signal_handler_drains_all_kept_names(rig):
    """Each name in the order of arrival. This SDK drains name after name, so the order across names is not shown."""
    async with rig.worker(LateListener):
        handle = await rig.start(LateListener.run)
        for name, what in [("a", "1"), ("b", "2"), ("a", "3")]:
            await handle.signal(name, what)
        await handle.signal(LateListener.listen_to_all)
        heard = await handle.query(LateListener.what)
        assert sorted(heard) == ["any a 1", "any a 3", "any b 2"]
        assert heard.index("any a 1") < heard.index("any a 3")
        await handle.signal(LateListener.close)
        assert await handle.result() == heard


async def test_m233_a_signal_is_kept_again_after_its_handler_is_taken_away(rig):
    async with rig.worker(LateListener):
        handle = await rig.start(LateListener.run)
        await handle.signal(LateListener.listen_to, "a")
        await handle.signal("a", "1")
        assert await handle.query(LateListener.what) == ["a 1"]
        await handle.signal(LateListener.be_deaf_to, "a")
        await handle.signal("a", "2")
        await handle.signal("a", "3")
        assert await handle.query(LateListener.what) == ["a 1"]
        await handle.signal(LateListener.listen_to, "a")
        await handle.signal(LateListener.close)
        assert await handle.result() == ["a 1", "a 2", "a 3"]


async def test_m026_a_signal_that_cannot_be_decoded_is_logged_and_dropped(rig, caplog):
    caplog.set_level(logging.ERROR)
    handle = await rig.start(Diary.run)
    await handle.signal("write", args=[{"not": "a string"}])
    await rig.client.workflow_service.signal_workflow_execution(
        SignalWorkflowExecutionRequest(
            namespace=rig.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=handle.id),
            signal_name="write",
            input=Payloads(payloads=[Payload(metadata={"encoding": b"unheard/of"}, data=b"?")]),
        )
    )
    await handle.signal(Diary.write, "good")
    await handle.signal(Diary.close)
    async with rig.worker(Diary):
        assert await handle.result() == ["good", "main"]
    dropped = [r for r in caplog.records if "dropping the signal" in r.getMessage()]
    assert len(dropped) >= 2
    assert not of_kind(await rig.events(handle), "workflow_task_failed")


async def test_m027_all_arguments_of_a_signal_arrive_in_order(rig):
    async with rig.worker(Diary):
        handle = await rig.start(Diary.run)
        await handle.signal(Diary.write_three, args=[1, "two", {"three": 3}])
        await handle.signal(Diary.close)
        assert "1 two {'three': 3}" in await handle.result()
    signaled = of_kind(await rig.events(handle), "workflow_execution_signaled")[0]
    data = [payload.data for payload in attributes(signaled).input.payloads]
    assert data == [b"1", b'"two"', b'{"three":3}']


async def test_a_signal_with_the_wrong_number_of_arguments_fails_the_workflow_task(rig):
    handle = await rig.start(Diary.run)
    await handle.signal("write")
    async with rig.worker(Diary):
        failed = await rig.seen(handle, "workflow_task_failed")
        assert "missing 1 required positional argument" in attributes(failed).failure.message
        assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING


@workflow.defn(name="Fragile")
class Fragile:
    """Breaks over every signal, in one way or another."""

    def __init__(self) -> None:
        self.taken = ""

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.taken != "")
        return self.taken

    @workflow.signal
    def take(self, what: str) -> None:
        raise ValueError("not yet able to take anything")

    @workflow.signal
    def refuse(self, what: str) -> None:
        raise ApplicationError(f"refused {what}", type="Refused")


@workflow.defn(name="Fragile")
class Mended(Fragile):
    @workflow.run
    async def run(self) -> str:
        return await super().run()

    @workflow.signal
    def take(self, what: str) -> None:
        self.taken = what


async def test_m028_a_handlers_failure_fails_the_workflow_and_its_other_errors_the_task_until_it_is_mended(
    rig,
):
    async with rig.worker(Fragile):
        refused = await rig.start(Fragile.run)
        await refused.signal(Fragile.refuse, "this")
        with pytest.raises(WorkflowFailureError) as caught:
            await refused.result()
        cause = caught.value.cause
        assert isinstance(cause, ApplicationError)
        assert (cause.type, cause.message) == ("Refused", "refused this")

        handle = await rig.start(Fragile.run, task_timeout=QUICK)
        await handle.signal(Fragile.take, "that")
        failed = await rig.seen(handle, "workflow_task_failed")
        assert attributes(failed).failure.message == "not yet able to take anything"
        assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING
    async with rig.worker(Mended):
        assert await handle.result() == "that"


async def test_m029_a_header_set_by_the_client_reaches_the_signal_interceptor(rig):
    async with rig.worker(Diary, interceptors=[baggage.InWorker()]):
        client = rig.client_with(None, baggage.FromClient("from the client"))
        handle = await client.start_workflow(Diary.run, **rig.options())
        await handle.signal(Diary.write_baggage)
        await handle.signal(Diary.close)
        assert "from the client" in await handle.result()


@workflow.defn
class Renewed:
    """A handler continues it as new in the moment the main function would return."""

    def __init__(self) -> None:
        self.told = False

    @workflow.run
    async def run(self, start: str) -> str:
        if start == "second":
            return "the second run's"
        await workflow.wait_condition(lambda: self.told)
        return "the first run's"

    @workflow.signal
    async def renew(self) -> None:
        self.told = True
        workflow.continue_as_new("second")


async def test_m030_a_signal_handler_may_continue_as_new_and_mains_result_is_dropped(rig):
    async with rig.worker(Renewed):
        handle = await rig.start(Renewed.run, "first")
        await handle.signal(Renewed.renew)
        assert await handle.result() == "the second run's"
    first = await rig.events(rig.run_of(handle))
    assert kind(first[-1]) == "workflow_execution_continued_as_new"
    assert not of_kind(first, "workflow_execution_completed")


@workflow.defn
class OneMoreRun:
    """Continues as new once, with signals that nobody handled."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    @workflow.run
    async def run(self, number: int) -> list[str]:
        if number == 1:
            await workflow.wait_condition(lambda: self.heard == ["go"])
            workflow.continue_as_new(2)
        workflow.set_signal_handler("unheard", self.heard.append)
        await workflow.wait_condition(lambda: len(self.heard) == 1)
        return self.heard

    @workflow.signal
    def tell(self, what: str) -> None:
        self.heard.append(what)


async def test_signals_that_nobody_handled_do_not_reach_the_next_run(rig):
    async with rig.worker(OneMoreRun):
        handle = await rig.start(OneMoreRun.run, 1)
        await handle.signal("unheard", "lost")
        await handle.signal(OneMoreRun.tell, "go")
        await rig.seen(rig.run_of(handle), "workflow_execution_continued_as_new")
        await handle.signal("unheard", "of the second run")
        assert await handle.result() == ["of the second run"]


@activity.defn
async def look_up(word: str) -> str:
    return word.upper()


@workflow.defn
class Translator:
    """Its signal handler runs activities."""

    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.run
    async def run(self, count: int) -> list[str]:
        await workflow.wait_condition(lambda: len(self.words) == count)
        return self.words

    @workflow.signal
    async def translate(self, word: str) -> None:
        first = await workflow.execute_activity(
            look_up, word, start_to_close_timeout=timedelta(seconds=30)
        )
        await workflow.sleep(0.01)
        second = await workflow.execute_activity(
            look_up, word, start_to_close_timeout=timedelta(seconds=30)
        )
        assert first == second
        self.words.append(first)


async def test_signal_handlers_with_activities_and_timers_run_side_by_side(rig):
    async with rig.worker(Translator, activities=[look_up]):
        handle = await rig.start(Translator.run, 8)
        words = [f"word{i}" for i in range(8)]
        await asyncio.gather(*(handle.signal(Translator.translate, word) for word in words))
        assert sorted(await handle.result()) == [word.upper() for word in words]


async def test_a_signal_during_the_last_workflow_task_is_not_lost(rig):
    """A stream of signals goes on while the workflow wants to end with the first. It ends with all that were accepted
    before the end, or without an error for their sender they would be lost."""

    async with rig.worker(Diary):
        handle = await rig.start(Diary.run)
        stored = []

        async def send() -> None:
            for i in range(1000):
                try:
                    await handle.signal(Diary.write, str(i))
                except RPCError as err:
                    assert err.status == RPCStatusCode.NOT_FOUND
                    return
                stored.append(str(i))

        sender = asyncio.create_task(send())
        await until(lambda: _has(stored, 10))
        await handle.signal(Diary.close)
        lines = await handle.result()
        await sender
        assert [line for line in lines if line != "main"] == stored


async def _has(list: list, count: int) -> bool:
    return len(list) >= count


async def test_m043_signal_with_start_runs_the_handler_before_main_and_answers_with_the_run_it_signalled(
    rig,
):
    handle = await rig.start(
        Diary.run, id="x", start_signal="write", start_signal_args=["with the start"]
    )
    async with rig.worker(Diary):
        assert await handle.query(Diary.read) == ["with the start", "main"]
        again = await rig.start(
            Diary.run, id="x", start_signal="write", start_signal_args=["again"]
        )
        assert again.result_run_id == handle.result_run_id
        await handle.signal(Diary.close)
        assert await again.result() == ["with the start", "main", "again"]
        other = await rig.start(Diary.run, id="x", start_signal="close")
        assert other.result_run_id != handle.result_run_id
        assert await other.result() == ["main"]
    events = await rig.events(rig.run_of(handle))
    assert kinds(events)[:3] == [
        "workflow_execution_started",
        "workflow_execution_signaled",
        "workflow_task_scheduled",
    ]
    assert len(of_kind(events, "workflow_execution_signaled")) == 3
    assert len(of_kind(await rig.events(rig.run_of(other)), "workflow_execution_signaled")) == 1
    one(events, "workflow_execution_started")
