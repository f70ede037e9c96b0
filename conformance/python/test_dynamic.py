"""Dynamic handlers, workflows and activities, and names that nobody knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import WorkflowExecutionStatus, WorkflowUpdateFailedError
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from rig import QUICK, attributes, of_kind

SOON = timedelta(seconds=30)


@dataclass
class Point:
    x: int
    y: int


def decoded(converter, args: Sequence[RawValue], *types: type) -> list[Any]:
    assert len(args) == len(types)
    return [converter.from_payload(arg.payload, kind) for arg, kind in zip(args, types)]


@workflow.defn
class CatchAll:
    """Has a handler named "known" and a dynamic one, of each kind. Each says which it is and what it got."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.closed = False

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.closed)
        return self.heard

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.signal(name="known")
    def known_signal(self) -> None:
        self.heard.append("known signal")

    @workflow.signal(dynamic=True)
    def any_signal(self, name: str, args: Sequence[RawValue]) -> None:
        self.heard.append(f"any signal {name} {self._describe(args)}")

    @workflow.query(name="known")
    def known_query(self) -> str:
        return "known query"

    @workflow.query(dynamic=True)
    def any_query(self, name: str, args: Sequence[RawValue]) -> str:
        return f"any query {name} {self._describe(args)}"

    @workflow.update(name="known")
    def known_update(self) -> str:
        return "known update"

    @workflow.update(dynamic=True)
    async def any_update(self, name: str, args: Sequence[RawValue]) -> str:
        return f"any update {name} {self._describe(args)}"

    @any_update.validator
    def check_any_update(self, name: str, args: Sequence[RawValue]) -> None:
        if name == "forbidden":
            raise ValueError("forbidden")

    def _describe(self, args: Sequence[RawValue]) -> str:
        assert isinstance(args, list)
        if not args:
            return "nothing"
        return str(decoded(workflow.payload_converter(), args, Point, str))


@workflow.defn(name="known")
class KnownWorkflow:
    @workflow.run
    async def run(self) -> str:
        return "known workflow"


@workflow.defn(dynamic=True)
class AnyWorkflow:
    """Answers under any name, with what activities of two names, called in two ways, make of its arguments."""

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> list[str]:
        said = decoded(workflow.payload_converter(), args, *[str] * len(args))
        answers = [f"any workflow {workflow.info().workflow_type} {said}"]
        for name in ("known", "unheard_of"):
            answers.append(
                await workflow.execute_activity(
                    name, args=said, result_type=str, start_to_close_timeout=SOON
                )
            )
        answers.append(
            await workflow.execute_local_activity(
                "unheard_of_here", args=said, result_type=str, start_to_close_timeout=SOON
            )
        )
        return answers


@activity.defn(name="known")
async def known_activity(*args: str) -> str:
    return "known activity"


@activity.defn(dynamic=True)
async def any_activity(args: Sequence[RawValue]) -> str:
    said = decoded(activity.payload_converter(), args, *[str] * len(args))
    info = activity.info()
    return f"any {'local ' if info.is_local else ''}activity {info.activity_type} {said}"


async def test_m220_an_exact_name_beats_a_dynamic_handler(rig):
    async with rig.worker(
        CatchAll, KnownWorkflow, AnyWorkflow, activities=[known_activity, any_activity]
    ):
        handle = await rig.start(CatchAll.run)
        await handle.signal("known")
        assert await handle.query("known") == "known query"
        assert await handle.execute_update("known") == "known update"
        await handle.signal(CatchAll.close)
        assert await handle.result() == ["known signal"]
        assert await rig.execute("known") == "known workflow"
        assert await rig.execute("unheard_of") == [
            "any workflow unheard_of []",
            "known activity",
            "any activity unheard_of []",
            "any local activity unheard_of_here []",
        ]


async def test_m221_a_dynamic_handler_gets_the_real_name_and_raw_arguments_that_it_can_decode(rig):
    async with rig.worker(CatchAll):
        handle = await rig.start(CatchAll.run)
        args = [Point(1, 2), "three"]
        await handle.signal("without")
        await handle.signal("with", args=args)
        described = "[Point(x=1, y=2), 'three']"
        assert await handle.query("without") == "any query without nothing"
        assert await handle.query("with", args=args) == f"any query with {described}"
        assert await handle.execute_update("without") == "any update without nothing"
        assert await handle.execute_update("with", args=args) == f"any update with {described}"
        await handle.signal(CatchAll.close)
        assert await handle.result() == [
            "any signal without nothing",
            f"any signal with {described}",
        ]


async def test_a_dynamic_update_has_a_validator_of_its_own(rig):
    async with rig.worker(CatchAll):
        handle = await rig.start(CatchAll.run)
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("forbidden")
        assert await handle.execute_update("allowed") == "any update allowed nothing"


async def test_m222_a_dynamic_workflow_or_activity_knows_its_type_and_may_be_local(rig):
    async with rig.worker(AnyWorkflow, activities=[any_activity]):
        assert await rig.execute("Whatever", "a", "b") == [
            "any workflow Whatever ['a', 'b']",
            "any activity known ['a', 'b']",
            "any activity unheard_of ['a', 'b']",
            "any local activity unheard_of_here ['a', 'b']",
        ]


@workflow.defn
class AsksTheUnknown:
    """Runs an activity that no worker knows, and returns what it was told about it."""

    @workflow.run
    async def run(self) -> list[Any]:
        try:
            await workflow.execute_activity(
                "unheard_of",
                start_to_close_timeout=SOON,
                retry_policy=RetryPolicy(
                    initial_interval=timedelta(milliseconds=10), maximum_attempts=2
                ),
            )
        except ActivityError as err:
            assert isinstance(err.cause, ApplicationError)
            return [err.cause.type, err.cause.message, err.cause.non_retryable]
        return []


async def test_m223_an_unknown_activity_fails_and_is_retried_and_an_unknown_workflow_waits(rig):
    async with rig.worker(AsksTheUnknown, activities=[known_activity]):
        asking = await rig.start(AsksTheUnknown.run)
        kind, message, non_retryable = await asking.result()
        assert (kind, non_retryable) == ("NotFoundError", False)
        assert "unheard_of" in message and "known" in message
        started = of_kind(await rig.events(asking), "activity_task_started")[-1]
        assert attributes(started).attempt == 2

        unknown = await rig.start("known", task_timeout=QUICK)
        failed = attributes(await rig.seen(unknown, "workflow_task_failed"))
        assert failed.failure.application_failure_info.type == "NotFoundError"
        assert "known" in failed.failure.message and "AsksTheUnknown" in failed.failure.message
        assert (await unknown.describe()).status == WorkflowExecutionStatus.RUNNING
    async with rig.worker(KnownWorkflow):
        assert await unknown.result() == "known workflow"


@workflow.defn
class Named:
    """Has named handlers only."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    def one_update(self) -> None: ...

    @workflow.update
    def another_update(self) -> None: ...


async def test_m224_an_unknown_update_is_rejected_with_the_names_that_are_known(rig):
    async with rig.worker(Named):
        handle = await rig.start(Named.run)
        await rig.seen(handle, "workflow_task_completed")
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await handle.execute_update("unheard_of")
        for name in ("unheard_of", "one_update", "another_update"):
            assert name in str(caught.value.cause)
        assert len(await rig.events(handle)) == 4
