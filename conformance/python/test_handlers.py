"""Handlers and the code around them: init, validators, what they see, how they run side by side."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError

from rig import QUICK, attributes, kinds, of_kind, one

SOON = timedelta(seconds=30)


@workflow.defn
class Initialised:
    """Everything in it depends on what init got."""

    @workflow.init
    def __init__(self, first: str, second: int) -> None:
        self.log = [f"init {first} {second}"]
        self.closed = False

    @workflow.run
    async def run(self, first: str, second: int) -> list[str]:
        self.log.append(f"run {first} {second}")
        await workflow.wait_condition(lambda: self.closed)
        return self.log

    @workflow.signal
    def note(self, what: str) -> None:
        self.log.append(f"signal {what}")

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.update
    def note_by_update(self, what: str) -> str:
        self.log.append(f"update {what}")
        return self.log[0]

    @workflow.query
    def read(self) -> list[str]:
        return self.log


async def test_m225_init_gets_the_arguments_of_run_and_comes_before_every_handler(rig):
    handle = await rig.start(Initialised.run, "a", 1)
    await handle.signal(Initialised.note, "x")
    update = await rig.admit(handle, Initialised.note_by_update, "y", id="u")
    query = asyncio.create_task(handle.query(Initialised.read))
    async with rig.worker(Initialised):
        assert await update == "init a 1"
        want = ["init a 1", "signal x", "update y", "run a 1"]
        assert await query == want
        await handle.signal(Initialised.close)
        assert await handle.result() == want


@workflow.defn(name="Guarded")
class Guarded:
    """Counts how often its validator and its handlers ran, in this process."""

    validations = 0
    breakdowns = 0

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.closed = False

    @workflow.run
    async def run(self) -> list[Any]:
        await workflow.wait_condition(lambda: self.closed)
        return self.values

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.query
    def read(self) -> list[Any]:
        return self.values

    @workflow.update
    def keep(self, value: dict[str, int]) -> int:
        if "fragile" in value and Guarded.breakdowns > 0:
            Guarded.breakdowns -= 1
            raise RuntimeError("a breakdown")
        self.values.append(value)
        return len(self.values)

    @keep.validator
    def check_keep(self, value: dict[str, int]) -> None:
        Guarded.validations += 1
        value["mutated"] = 1

    @workflow.update
    def keep_checked_by_activity(self, value: int) -> None:
        self.values.append(value)

    @keep_checked_by_activity.validator
    def check_by_activity(self, value: int) -> None:
        workflow.start_activity("check", value, start_to_close_timeout=SOON)

    @workflow.update
    def never(self) -> None:
        self.values.append("never")

    @never.validator
    def check_never(self) -> None:
        raise RuntimeError("never ever")


@workflow.defn(name="Guarded")
class GuardedTighter(Guarded):
    """Guarded, after somebody thought about it again."""

    @workflow.run
    async def run(self) -> list[Any]:
        return await super().run()

    @workflow.update
    def keep(self, value: dict[str, int]) -> int:
        self.values.append(value)
        return len(self.values)

    @keep.validator
    def check_keep(self, value: dict[str, int]) -> None:
        raise ValueError("nothing is kept any more")

    @workflow.update
    def keep_checked_by_activity(self, value: int) -> None:
        self.values.append(value)


async def test_m226_a_validator_runs_before_acceptance_only_and_may_become_stricter(rig):
    Guarded.validations = 0
    async with rig.worker(Guarded):
        handle = await rig.start(Guarded.run)
        assert await handle.execute_update(Guarded.keep, {"a": 1}) == 1
        assert Guarded.validations == 1
        # Again when the workflow task that would have accepted is tried again.
        Guarded.breakdowns = 1
        assert await handle.execute_update(Guarded.keep, {"fragile": 2}) == 2
        assert Guarded.validations == 3
    async with rig.worker(Guarded):
        assert await handle.query(Guarded.read) == [{"a": 1}, {"fragile": 2}]  # a replay
        assert Guarded.validations == 3
    async with rig.worker(GuardedTighter):
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(GuardedTighter.keep, {"c": 3})
        await handle.signal(Guarded.close)
        assert await handle.result() == [{"a": 1}, {"fragile": 2}]


async def test_m227_what_a_validator_does_to_its_argument_the_handler_does_not_see(rig):
    async with rig.worker(Guarded):
        handle = await rig.start(Guarded.run)
        await handle.execute_update(Guarded.keep, {"a": 1})
        await handle.signal(Guarded.close)
        assert await handle.result() == [{"a": 1}]


async def test_m228_a_validator_that_starts_an_activity_fails_the_workflow_task_and_any_other_error_rejects(
    rig,
):
    async with rig.worker(Guarded):
        handle = await rig.start(Guarded.run, task_timeout=QUICK)
        with pytest.raises(WorkflowUpdateFailedError, match="Workflow update failed") as caught:
            await handle.execute_update(Guarded.never)
        assert "never ever" in str(caught.value.cause)
        update = await rig.admit(handle, Guarded.keep_checked_by_activity, 1, id="u")
        failed = attributes(await rig.seen(handle, "workflow_task_failed"))
        assert "read-only" in failed.failure.message
        assert not update.done()
    async with rig.worker(GuardedTighter):
        await update
        await handle.signal(Guarded.close)
        assert await handle.result() == [1]


async def test_m229_update_arguments_that_cannot_be_decoded_are_a_rejection(rig):
    async with rig.worker(Guarded):
        handle = await rig.start(Guarded.run)
        await rig.seen(handle, "workflow_task_completed")
        Guarded.validations = 0
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await handle.execute_update("keep", "no dictionary")
        assert "Failed decoding arguments" in str(caught.value.cause)
        assert Guarded.validations == 0
        assert await handle.query(Guarded.read) == []
        assert len(await rig.events(handle)) == 4


async def test_m231_a_handler_that_breaks_fails_the_workflow_task_and_completes_once_when_it_is_well_again(
    rig,
):
    async with rig.worker(Guarded):
        handle = await rig.start(Guarded.run)
        await rig.seen(handle, "workflow_task_completed")
        Guarded.breakdowns = 1
        assert await handle.execute_update(Guarded.keep, {"fragile": 1}) == 1
        await handle.signal(Guarded.close)
        assert await handle.result() == [{"fragile": 1}]
    events = await rig.events(handle)
    assert attributes(one(events, "workflow_task_failed")).failure.message == "a breakdown"
    one(events, "workflow_execution_update_accepted")
    one(events, "workflow_execution_update_completed")


@workflow.defn
class SetsHandlers:
    """Has an update by its definition, and makes others known while it is made and when main begins."""

    def __init__(self) -> None:
        self.closed = False
        workflow.set_update_handler("from_init", lambda: "from init")

    @workflow.run
    async def run(self) -> None:
        workflow.set_update_handler("from_main", lambda: "from main")
        await workflow.wait_condition(lambda: self.closed)

    @workflow.update
    def from_definition(self) -> str:
        return "from the definition"

    @workflow.signal
    def close(self) -> None:
        self.closed = True


async def test_an_update_in_the_first_workflow_task_finds_the_handlers_of_definition_and_init(rig):
    handle = await rig.start(SetsHandlers.run)
    names = ("from_definition", "from_init")
    updates = [await rig.admit(handle, name, id=name) for name in names]
    async with rig.worker(SetsHandlers):
        assert await asyncio.gather(*updates) == ["from the definition", "from init"]
        assert await handle.execute_update("from_main") == "from main"
        await handle.signal(SetsHandlers.close)
        await handle.result()


@workflow.defn
class Introspective:
    """Asks in every place which update is at work."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}
        self.closed = False

    def look(self, place: str) -> None:
        info = workflow.current_update_info()
        self.seen[place] = [info.id, info.name] if info else None

    @workflow.run
    async def run(self) -> dict[str, Any]:
        self.look("main")
        await workflow.wait_condition(lambda: self.closed)
        self.look("main later")
        return self.seen

    @workflow.signal
    async def look_in_signal(self) -> None:
        self.look("signal")
        await workflow.sleep(0.001)
        self.look("signal later")

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.query
    def in_query(self) -> bool:
        return workflow.current_update_info() is None

    @workflow.update
    async def look_in_update(self) -> None:
        self.look("update")
        await asyncio.create_task(self.look_in_task())
        self.look("update later")

    @look_in_update.validator
    def check(self) -> None:
        info = workflow.current_update_info()
        assert info is not None and (info.id, info.name) == ("an id", "look_in_update")

    async def look_in_task(self) -> None:
        self.look("task")
        await workflow.sleep(0.001)
        self.look("task later")


async def test_m234_the_current_update_is_known_in_handler_validator_and_their_tasks_only(rig):
    async with rig.worker(Introspective):
        handle = await rig.start(Introspective.run)
        await handle.execute_update(Introspective.look_in_update, id="an id")
        assert await handle.query(Introspective.in_query)
        await handle.signal(Introspective.look_in_signal)
        await handle.signal(Introspective.close)
        seen = await handle.result()
    info = ["an id", "look_in_update"]
    within = ("update", "update later", "task", "task later")
    for place, got in seen.items():
        assert got == (info if place in within else None), place
    assert {*within, "main", "main later", "signal"} <= set(seen)


@workflow.defn
class Careful:
    """Returns only when all its handlers are done."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.gates: set[str] = set()
        self.closed = False

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.closed)
        self.log.append(f"finished: {workflow.all_handlers_finished()}")
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.log

    @workflow.signal
    async def wait_in_signal(self, gate: str) -> None:
        await workflow.wait_condition(lambda: gate in self.gates)
        self.log.append(f"signal: {workflow.all_handlers_finished()}")

    @workflow.update
    async def wait_in_update(self, gate: str) -> str:
        await workflow.wait_condition(lambda: gate in self.gates)
        self.log.append(f"update: {workflow.all_handlers_finished()}")
        return gate

    @workflow.signal
    def open(self, gate: str) -> None:
        self.gates.add(gate)

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.query
    def finished(self) -> bool:
        return workflow.all_handlers_finished()


async def test_m235_all_handlers_are_finished_only_when_none_is_blocked_and_to_wait_for_that_delays_the_end(
    rig,
):
    async with rig.worker(Careful):
        handle = await rig.start(Careful.run)
        assert await handle.query(Careful.finished)
        await handle.signal(Careful.wait_in_signal, "s")
        assert not await handle.query(Careful.finished)
        update = await rig.accepted(handle, Careful.wait_in_update, "u")
        await handle.signal(Careful.close)
        assert not await handle.query(Careful.finished)
        await handle.signal(Careful.open, "s")
        assert not await handle.query(Careful.finished)
        assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING
        await handle.signal(Careful.open, "u")
        assert await update.result() == "u"
        assert await handle.result() == ["finished: False", "signal: False", "update: False"]
        assert await handle.query(Careful.finished)


@workflow.defn
class Racing:
    """Main and a handler end in one activation, in an order that depends on the handler."""

    def __init__(self) -> None:
        self.go = False
        self.main_returned = False

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.go)
        self.main_returned = True
        return "main's result"

    @workflow.update
    async def answer_after_main(self) -> str:
        self.go = True
        await workflow.wait_condition(lambda: self.main_returned)
        return "answered"

    @workflow.signal
    def fail_before_main(self) -> None:
        self.go = True
        raise ApplicationError("failed by the handler")

    @workflow.signal
    async def fail_after_main(self) -> None:
        self.go = True
        await workflow.wait_condition(lambda: self.main_returned)
        raise ApplicationError("too late")


async def test_m237_an_update_that_completes_after_main_returned_in_the_same_activation_is_completed(
    rig,
):
    async with rig.worker(Racing):
        handle = await rig.start(Racing.run)
        assert await handle.execute_update(Racing.answer_after_main) == "answered"
        assert await handle.result() == "main's result"
    assert kinds(await rig.events(handle))[-3:] == [
        "workflow_execution_update_accepted",
        "workflow_execution_update_completed",
        "workflow_execution_completed",
    ]


async def test_m238_of_mains_return_and_a_handlers_failure_in_one_activation_the_first_counts(rig):
    async with rig.worker(Racing):
        failed = await rig.start(Racing.run)
        await failed.signal(Racing.fail_before_main)
        with pytest.raises(WorkflowFailureError) as caught:
            await failed.result()
        assert str(caught.value.cause) == "failed by the handler"
        completed = await rig.start(Racing.run)
        await completed.signal(Racing.fail_after_main)
        assert await completed.result() == "main's result"
    for handle in (failed, completed):
        assert not of_kind(await rig.events(handle), "workflow_task_failed")


@activity.defn
async def echo(what: str) -> str:
    return what


@workflow.defn
class Serial:
    """Handlers of both kinds do work in several steps, one at a time or two at a time."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.semaphore = asyncio.Semaphore(2)
        self.log: list[str] = []
        self.inside = 0
        self.most = 0
        self.done = 0

    @workflow.run
    async def run(self, count: int) -> list[str]:
        await workflow.wait_condition(lambda: self.done == count)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return [*self.log, f"at most {self.most}"]

    async def steps(self, name: str) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.log.append(f"begin {name}")
        await workflow.execute_activity(echo, name, start_to_close_timeout=SOON)
        await workflow.sleep(0.001)
        self.log.append(f"end {name}")
        self.inside -= 1
        self.done += 1

    @workflow.update
    async def work(self, name: str) -> str:
        async with self.lock:
            await self.steps(name)
        return name

    @workflow.signal
    async def work_by_signal(self, name: str) -> None:
        async with self.lock:
            await self.steps(name)

    @workflow.update
    async def work_in_pairs(self, name: str) -> str:
        async with self.semaphore:
            await self.steps(name)
        return name


async def test_m239_a_lock_or_semaphore_serialises_concurrent_handlers(rig):
    async with rig.worker(Serial, activities=[echo]):
        handle = await rig.start(Serial.run, 9)
        names = [f"u{i}" for i in range(6)]
        calls = [handle.execute_update(Serial.work, name) for name in names]
        calls += [handle.signal(Serial.work_by_signal, f"s{i}") for i in range(3)]
        assert (await asyncio.gather(*calls))[:6] == names
        *log, most = await handle.result()
        assert most == "at most 1"
        for begin, end in zip(log[::2], log[1::2]):
            assert begin.replace("begin", "end") == end

        paired = await rig.start(Serial.run, 6)
        await asyncio.gather(*(paired.execute_update(Serial.work_in_pairs, n) for n in names))
        assert (await paired.result())[-1] == "at most 2"
