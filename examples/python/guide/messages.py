"""The Python SDK's message features, one after the other, each as small as it gets.

For readers who know the SDK's own guide: the workflows, handlers and calls it speaks of, under the names it gives them,
in one program that runs. ../greeting/ tells a fuller story.

Needs a server at TEMPORAL_ADDRESS (default localhost:7233) with the namespace "default". The worker runs in this
process. Prints one line a feature; the first wrong answer ends the program with status 1.
"""

import asyncio
import os
import sys
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.worker import Worker

LIMIT = timedelta(seconds=60)


@dataclass
class YourDataClass:
    greeting: str
    name: str


@activity.defn
async def default_greeting(who: YourDataClass) -> str:
    return f"{who.greeting}, {who.name}!"


@activity.defn(dynamic=True)
async def dynamic_greeting(args: Sequence[RawValue]) -> str:
    who = activity.payload_converter().from_payload(args[0].payload, YourDataClass)
    return f"{who.greeting}, {who.name}! Asked for as {activity.info().activity_type}."


@workflow.defn
class GreetingWorkflow:
    """Greets every name it is sent, until it is told to exit."""

    def __init__(self) -> None:
        self._pending_greetings: asyncio.Queue[str] = asyncio.Queue()
        self._greeting = ""
        self._exit = False
        self.is_complete = False

    @workflow.run
    async def run(self) -> list[str]:
        greetings: list[str] = []
        while True:
            await workflow.wait_condition(lambda: not self._pending_greetings.empty() or self._exit)
            while not self._pending_greetings.empty():
                self._greeting = f"Hello, {self._pending_greetings.get_nowait()}"
                greetings.append(self._greeting)
            if self._exit:
                return greetings

    @workflow.signal
    async def submit_greeting(self, name: str) -> None:
        await self._pending_greetings.put(name)

    @workflow.signal
    def exit(self) -> None:
        self._exit = True

    @workflow.signal(name="Custom Signal Name")
    async def custom_signal(self, name: str) -> None:
        await self._pending_greetings.put(name)

    @workflow.signal(dynamic=True)
    async def dynamic_signal(self, name: str, args: Sequence[RawValue]) -> None:
        await self._pending_greetings.put(name)

    @workflow.query
    def greeting(self) -> str:
        return self._greeting

    @workflow.query(dynamic=True)
    def dynamic_query(self, input: str, args: Sequence[RawValue]) -> str:
        return f"{self._greeting} ({input})"

    @workflow.update
    async def update_workflow_status(self) -> str:
        self.is_complete = True
        return "status is now complete"

    @update_workflow_status.validator
    def check_update_workflow_status(self) -> None:
        if self.is_complete:
            raise ValueError("status is complete already")

    @workflow.update(dynamic=True)
    async def dynamic_update(self, name: str, args: Sequence[RawValue]) -> str:
        converter = workflow.payload_converter()
        words = [converter.from_payload(arg.payload, str) for arg in args]
        return f"{name} with {words}"


@workflow.defn
class WorkflowA:
    """Ends with what it is signalled."""

    def __init__(self) -> None:
        self._said: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: len(self._said) == 2)
        return self._said

    @workflow.signal
    def your_signal(self, said: str) -> None:
        self._said.append(said)


@workflow.defn
class WorkflowB:
    """Signals a WorkflowA, once by a handle that knows its type and once by one that does not."""

    @workflow.run
    async def run(self, workflow_a_id: str) -> None:
        typed = workflow.get_external_workflow_handle_for(WorkflowA.run, workflow_a_id)
        await typed.signal(WorkflowA.your_signal, "typed")

        untyped = workflow.get_external_workflow_handle(workflow_a_id)
        await untyped.signal("your_signal", "untyped")


@workflow.defn
class UnregisteredActivityWorkflow:
    """Asks for an activity that no worker knows by name."""

    @workflow.run
    async def run(self, name: str) -> str:
        greeting: str = await workflow.execute_activity(
            "unregistered_activity",
            YourDataClass("Hello", name),
            result_type=str,
            start_to_close_timeout=timedelta(seconds=10),
        )
        return greeting


@workflow.defn(dynamic=True)
class DynamicWorkflow:
    """Runs for any workflow type that no worker knows by name."""

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> str:
        name = workflow.payload_converter().from_payload(args[0].payload, str)
        return await workflow.execute_activity(
            default_greeting,
            YourDataClass("Hello", name),
            start_to_close_timeout=timedelta(seconds=10),
        )


class WrongAnswer(Exception):
    """A feature answered something else than it should."""


def show(feature: str, got: Any, want: Any) -> None:
    if got != want:
        raise WrongAnswer(f"{feature}:\n  got  {got!r}\n  want {want!r}")
    print(f"{feature}: {got}", flush=True)


async def messages(client: Client, run: str, task_queue: str) -> None:
    def options(name: str) -> dict[str, Any]:
        return {"id": f"{name}-{run}", "task_queue": task_queue, "execution_timeout": LIMIT}

    # Signals, by the handle that a start answers with and by the two that a client makes from an ID.
    handle = await client.start_workflow(GreetingWorkflow.run, **options("your-greeting-workflow"))
    await handle.signal(GreetingWorkflow.submit_greeting, "User 1")
    show("signal and query", await handle.query(GreetingWorkflow.greeting), "Hello, User 1")

    typed: WorkflowHandle[GreetingWorkflow, list[str]] = client.get_workflow_handle_for(
        GreetingWorkflow.run, handle.id
    )
    await typed.signal(GreetingWorkflow.custom_signal, "User 2")
    show("custom signal name", await typed.query(GreetingWorkflow.greeting), "Hello, User 2")

    untyped = client.get_workflow_handle(handle.id)
    await untyped.signal("submit_greeting", "User 3")
    show("untyped handle", await untyped.query("greeting"), "Hello, User 3")

    # Updates, and one that its validator turns down.
    answer = await handle.execute_update(GreetingWorkflow.update_workflow_status)
    show("update", answer, "status is now complete")
    try:
        reason = await handle.execute_update(GreetingWorkflow.update_workflow_status)
    except WorkflowUpdateFailedError as err:
        reason = str(err.cause)
    show("update rejected", reason, "ValueError: status is complete already")

    # Catch-all handlers.
    await handle.signal("unheard_of_signal", "ignored")
    show(
        "dynamic signal", await handle.query(GreetingWorkflow.greeting), "Hello, unheard_of_signal"
    )
    answer = await handle.query("unheard_of_query")
    show("dynamic query", answer, "Hello, unheard_of_signal (unheard_of_query)")
    answer = await handle.execute_update("unheard_of_update", args=["one", "two"])
    show("dynamic update", answer, "unheard_of_update with ['one', 'two']")

    await handle.signal(GreetingWorkflow.exit)
    show(
        "result",
        await handle.result(),
        ["Hello, User 1", "Hello, User 2", "Hello, User 3", "Hello, unheard_of_signal"],
    )

    # Signal-with-start: the first call starts the workflow, the second finds it running.
    for user in ("User 4", "User 5"):
        handle = await client.start_workflow(
            GreetingWorkflow.run,
            **options("your-signal-with-start-workflow"),
            start_signal="submit_greeting",
            start_signal_args=[user],
        )
        show("signal with start", await handle.query(GreetingWorkflow.greeting), f"Hello, {user}")
    await handle.signal(GreetingWorkflow.exit)
    show("result", await handle.result(), ["Hello, User 4", "Hello, User 5"])

    # One workflow signals another.
    workflow_a = await client.start_workflow(WorkflowA.run, **options("workflow-a"))
    await client.execute_workflow(WorkflowB.run, workflow_a.id, **options("workflow-b"))
    show("external signals", await workflow_a.result(), ["typed", "untyped"])

    # A catch-all activity and a catch-all workflow.
    answer = await client.execute_workflow(
        UnregisteredActivityWorkflow.run, "User 6", **options("dynamic-activity")
    )
    show("dynamic activity", answer, "Hello, User 6! Asked for as unregistered_activity.")
    answer = await client.execute_workflow(
        "UnheardOfWorkflow", "User 7", **options("dynamic-workflow"), result_type=str
    )
    show("dynamic workflow", answer, "Hello, User 7!")


async def main() -> None:
    run = uuid.uuid4().hex[:12]
    task_queue = f"signal-tq-{run}"
    client = await Client.connect(os.environ.get("TEMPORAL_ADDRESS") or "localhost:7233")
    async with Worker(
        client,
        task_queue=task_queue,
        workflows=[
            GreetingWorkflow,
            WorkflowA,
            WorkflowB,
            UnregisteredActivityWorkflow,
            DynamicWorkflow,
        ],
        activities=[default_greeting, dynamic_greeting],
    ):
        await messages(client, run, task_queue)


def leave(status: int, message: str = "") -> NoReturn:
    """Ends the process at once, without tearing the interpreter down.

    The SDK's native threads may crash an interpreter that is being torn down, after all went well:
    https://github.com/temporalio/sdk-python/issues/300.
    """
    if message:
        print(message, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    seconds = LIMIT.total_seconds()
    late = threading.Timer(seconds, leave, [1, f"not done within {seconds:.0f} s"])
    late.daemon = True
    late.start()
    try:
        asyncio.run(main())
    except Exception as err:
        leave(1, f"{type(err).__name__}: {err}")
    leave(0)
