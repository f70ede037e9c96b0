"""What the SDK's guide on messages says, claim by claim, with workflows in the SDK's sandbox.

The program examples/python/guide has its snippets; here is what they leave out. Claims that other files of this suite
show are not repeated: events of external signals, signal-with-start, names that beat dynamic handlers, commands in
queries.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from temporalio import activity, workflow
from temporalio.client import (
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from guide_workflows import (
    AskUnregistered,
    Base,
    Dynamic,
    Greeter,
    Greeting,
    Override,
    compose,
    compose_dynamically,
)
from rig import attributes, of_kind

EVERYTHING = (Greeter, AskUnregistered, Dynamic, Base, Override)


def sandboxed(rig):
    return rig.worker(
        *EVERYTHING,
        activities=[compose, compose_dynamically],
        workflow_runner=SandboxedWorkflowRunner(),
    )


async def test_each_way_to_a_handle_sends_signals_and_their_events_appear_in_history(rig):
    async with sandboxed(rig):
        started = await rig.start(Greeter.run)
        typed: WorkflowHandle = rig.client.get_workflow_handle_for(Greeter.run, started.id)
        untyped = rig.client.get_workflow_handle(started.id)
        await started.signal(Greeter.greet, Greeting("Hello", "User 1"))
        await typed.signal(Greeter.custom, "User 2")
        await untyped.signal("greet", Greeting("Hello", "User 3"))
        await started.signal(Greeter.exit)
        assert await started.result() == ["Hello, User 1!", "Hi, User 2!", "Hello, User 3!"]
    signaled = of_kind(await rig.events(started), "workflow_execution_signaled")
    names = [attributes(event).signal_name for event in signaled]
    assert names == ["greet", "Custom Signal Name", "greet", "exit"]


async def test_a_signal_answers_with_nothing_and_a_closed_workflow_takes_none(rig):
    async with sandboxed(rig):
        handle = await rig.start(Greeter.run)
        assert await handle.signal(Greeter.greet, Greeting("Hello", "User 1")) is None
        await handle.signal(Greeter.exit)
        await handle.result()
        closed = await rig.events(handle)
        with pytest.raises(RPCError) as caught:
            await handle.signal(Greeter.greet, Greeting("Hello", "User 2"))
        assert caught.value.status == RPCStatusCode.NOT_FOUND
        assert await rig.events(handle) == closed


@dataclass
class OldGreeting:
    """Greeting, as callers knew it before it had a mark."""

    word: str
    name: str


async def test_fields_may_be_added_to_the_one_argument_of_a_handler(rig):
    async with sandboxed(rig):
        handle = await rig.start(Greeter.run)
        await handle.signal("greet", OldGreeting("Hello", "old"))
        await handle.signal("greet", Greeting("Hello", "new", "?"))
        await handle.signal(Greeter.exit)
        assert await handle.result() == ["Hello, old!", "Hello, new?"]


async def test_arguments_that_cannot_be_serialised_do_not_leave_the_client(rig):
    async with sandboxed(rig):
        handle = await rig.start(Greeter.run)
        assert await handle.query("Custom Query Name") == 0
        before = await rig.events(handle)
        for send in (handle.signal, handle.query, handle.execute_update):
            with pytest.raises(TypeError, match="serializable"):
                await send("greet", object())
        assert await rig.events(handle) == before


async def test_names_default_to_the_method_and_may_be_customised(rig):
    async with sandboxed(rig):
        handle = await rig.start(Greeter.run)
        assert await handle.query(Greeter.greetings) == await handle.query("greetings") == []
        assert (
            await handle.query(Greeter.custom_query) == await handle.query("Custom Query Name") == 0
        )
        for name in ("greetings ", "Greetings", "custom_query"):
            with pytest.raises(WorkflowQueryFailedError):
                await handle.query(name)
        assert await handle.execute_update(Greeter.get_status) == "new"
        assert await handle.execute_update("Custom Update Name") == "new"
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("get_status")


async def test_parameters_are_positional(rig):
    async with sandboxed(rig):
        handle = await rig.start(Greeter.run)
        with pytest.raises(WorkflowQueryFailedError, match="positional argument"):
            await handle.query("first", 1)


async def test_updates_may_be_synchronous_or_not_and_answer_with_anything_serialisable(rig):
    async with sandboxed(rig):
        handle = await rig.start(Greeter.run)
        assert await handle.execute_update(Greeter.set_status, "busy") == Greeting("new", "busy")
        assert await handle.execute_update(Greeter.get_status) == "busy"
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await handle.execute_update(Greeter.set_status, "busy")
        assert "the status is busy already" in str(caught.value.cause)


async def test_a_decorated_override_takes_the_place_of_what_it_overrides(rig):
    async with sandboxed(rig):
        assert await (await rig.start(Base.run)).execute_update("who") == "base"
        assert await (await rig.start(Override.run)).execute_update(Override.who) == "override"


async def test_dynamic_workflow_and_activity_stand_in_for_what_is_not_registered(rig):
    async with sandboxed(rig):
        unregistered = await rig.execute(AskUnregistered.run, "User 1")
        assert unregistered == "Hello, User 1! (unregistered_activity)"
        assert await rig.execute("UnregisteredWorkflow", "User 2") == "Hello, User 2!"


# What the decorators refuse, before there is any server.


@pytest.mark.parametrize("decorator", [workflow.signal, workflow.query, workflow.update])
def test_a_handler_has_a_name_or_is_dynamic_not_both(decorator):
    with pytest.raises(RuntimeError, match="Cannot provide name and dynamic boolean"):
        decorator(name="a name", dynamic=True)


def _with_one_argument(self, name: str) -> None: ...


@pytest.mark.parametrize("decorator", [workflow.signal, workflow.query, workflow.update])
def test_a_dynamic_handler_takes_a_name_and_raw_values(decorator):
    with pytest.raises(RuntimeError, match="Dynamic handler must have 3 arguments"):
        decorator(dynamic=True)(_with_one_argument)


def test_a_dynamic_activity_takes_raw_values_alone():
    def two_arguments(args: Sequence[RawValue], more: int) -> None: ...

    with pytest.raises(TypeError, match="Dynamic activity must accept a single Sequence"):
        activity.defn(dynamic=True)(two_arguments)


class TakesAString:
    @workflow.run
    async def run(self, name: str) -> None: ...


def test_a_dynamic_workflow_takes_raw_values_alone():
    with pytest.raises(TypeError, match="Dynamic workflow must accept a single Sequence"):
        workflow.defn(dynamic=True)(TakesAString)


class OverridesWithoutDecorator(Base):
    @workflow.run
    async def run(self) -> None: ...

    def who(self) -> str:
        return "nobody"


def test_an_override_of_an_update_has_to_be_decorated():
    with pytest.raises(
        ValueError, match="@workflow.update defined on Base.who but not on the override"
    ):
        workflow.defn(OverridesWithoutDecorator)
