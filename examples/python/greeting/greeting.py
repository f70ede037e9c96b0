"""A guest book kept by a workflow, told in steps that check themselves.

Every way of talking to a running workflow has its step: signals, queries, updates, signal-with-start, signals from one
workflow to another, and the catch-all ("dynamic") form of each handler, of a workflow and of an activity.

Needs a server at TEMPORAL_ADDRESS (default localhost:7233) with the namespace "default". The worker runs in this
process. Prints one line a step; the first surprise ends the program with status 1.
"""

import asyncio
import os
import sys
import threading
import uuid
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateStage,
)
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

STORY_LIMIT = timedelta(seconds=60)
ACTIVITY_LIMIT = timedelta(seconds=10)


# --- activities ------------------------------------------------------------------------------------------------------


@dataclass
class Guest:
    """What an activity needs to greet someone. One object, so that fields can be added later."""

    salutation: str
    name: str


@activity.defn
async def compose(guest: Guest) -> str:
    return f"{guest.salutation}, {guest.name}!"


@activity.defn(dynamic=True)
async def any_activity(args: Sequence[RawValue]) -> str:
    """Runs for every activity type that nothing else is registered for."""
    guest = activity.payload_converter().from_payload(args[0].payload, Guest)
    return f"{activity.info().activity_type} of {guest.name}"


# --- workflows -------------------------------------------------------------------------------------------------------


def decoded(args: Sequence[RawValue]) -> str:
    """Raw arguments as a person would write them: catch-all handlers know no types, so JSON decides."""
    converter = workflow.payload_converter()
    return ", ".join(str(converter.from_payload(arg.payload)) for arg in args)


@workflow.defn
class Guestbook:
    """Writes an entry for each guest it hears of, in order, until it is asked to close."""

    @workflow.init
    def __init__(self, salutation: str) -> None:
        self._salutation = salutation
        self._guests: deque[str] = deque()
        self._entries: list[str] = []
        self._remarks: list[str] = []
        self._closing = False

    @workflow.run
    async def run(self, salutation: str) -> list[str]:
        while True:
            await workflow.wait_condition(lambda: bool(self._guests) or self._closing)
            if not self._guests:
                break
            guest = Guest(self._salutation, self._guests.popleft())
            self._entries.append(
                await workflow.execute_activity(
                    compose, guest, start_to_close_timeout=ACTIVITY_LIMIT
                )
            )
        # No activity has this name: the worker hands it to its catch-all.
        colophon = await workflow.execute_activity(
            "binding",
            Guest("", f"{len(self._entries)} entries"),
            result_type=str,
            start_to_close_timeout=ACTIVITY_LIMIT,
        )
        # An update that is still waiting would be cut off by returning now.
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._entries + [colophon]

    @workflow.signal
    async def welcome(self, name: str) -> None:
        self._guests.append(name)

    @workflow.signal
    def close(self) -> None:
        self._closing = True

    @workflow.signal(name="Late arrival")
    async def late_arrival(self, name: str) -> None:
        self._guests.append(f"late {name}")

    @workflow.signal(dynamic=True)
    async def any_signal(self, name: str, args: Sequence[RawValue]) -> None:
        self._remarks.append(f"{name}({decoded(args)})")

    @workflow.query
    def latest(self) -> str:
        return self._entries[-1] if self._entries else ""

    @workflow.query(name="Entry number")
    def entry(self, number: int) -> str:
        return self._entries[number - 1]

    @workflow.query
    def remarks(self) -> list[str]:
        return self._remarks

    @workflow.query(dynamic=True)
    def any_query(self, name: str, args: Sequence[RawValue]) -> str:
        return f"{name}({decoded(args)}) after {len(self._entries)} entries"

    @workflow.update
    async def wait_for_entries(self, count: int) -> str:
        """Answers with entry number count once it has been written."""
        await workflow.wait_condition(lambda: len(self._entries) >= count)
        return self._entries[count - 1]

    @workflow.update
    def change_salutation(self, salutation: str) -> str:
        """Answers with the salutation used until now."""
        before, self._salutation = self._salutation, salutation
        return before

    @change_salutation.validator
    def validate_change_salutation(self, salutation: str) -> None:
        if not salutation.strip():
            raise ApplicationError("a salutation cannot be blank")

    @workflow.update(dynamic=True)
    async def any_update(self, name: str, args: Sequence[RawValue]) -> str:
        self._remarks.append(f"{name}({decoded(args)})")
        return f"noted as remark {len(self._remarks)}"

    @any_update.validator
    def validate_any_update(self, name: str, args: Sequence[RawValue]) -> None:
        if not args:
            raise ApplicationError(f"{name} says nothing")


@workflow.defn
class Messenger:
    """Brings guests to a book kept by another workflow."""

    @workflow.run
    async def run(self, book_id: str) -> list[str]:
        typed = workflow.get_external_workflow_handle_for(Guestbook.run, book_id)
        await typed.signal(Guestbook.welcome, "Hedy")

        by_name = workflow.get_external_workflow_handle(book_id)
        await by_name.signal("Late arrival", "Radia")

        nobody = workflow.get_external_workflow_handle(f"{book_id}-burnt")
        try:
            await nobody.signal("welcome", "Nobody")
        except ApplicationError as err:
            if "not found" in err.message:
                return ["typed", "by name", "no such book"]
            raise
        raise ApplicationError("a workflow that never was took a signal", non_retryable=True)


@workflow.defn(dynamic=True)
class AnyWorkflow:
    """Runs for every workflow type that nothing else is registered for."""

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> str:
        name = workflow.payload_converter().from_payload(args[0].payload, str)
        greeting = await workflow.execute_activity(
            compose, Guest("Hello", name), start_to_close_timeout=ACTIVITY_LIMIT
        )
        return f"{workflow.info().workflow_type}: {greeting}"


# --- the story -------------------------------------------------------------------------------------------------------


class Surprise(Exception):
    """Something came out other than it should."""


class Story:
    """Prints the steps and stops at the first one that differs from what it should be."""

    def __init__(self) -> None:
        self._steps = 0

    def step(self, title: str, got: Any, want: Any) -> None:
        self._steps += 1
        if got != want:
            raise Surprise(f"step {self._steps}, {title}:\n  got  {got!r}\n  want {want!r}")
        shown = "; ".join(got) if isinstance(got, list) else got
        print(f"{self._steps:2} {title}: {shown}", flush=True)


async def rejection(update: Awaitable[Any]) -> str:
    """The reason a rejected update was given."""
    try:
        answer = await update
    except WorkflowUpdateFailedError as err:
        return str(err.cause)
    return f"not rejected, but answered {answer!r}"


async def events(handle: WorkflowHandle[Any, Any], kinds: Sequence[str]) -> list[str]:
    """The events of the given kinds in a history, in order; a signal with its name."""
    found = []
    async for event in handle.fetch_history_events():
        kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
        if kind in kinds:
            signal = event.workflow_execution_signaled_event_attributes.signal_name
            found.append(signal or kind)
    return found


async def tell(client: Client, story: Story, run: str) -> None:
    async def start(kind: Any, arg: str, name: str, **options: Any) -> Any:
        return await client.start_workflow(
            kind,
            arg,
            id=f"guestbook-python-{run}-{name}",
            task_queue=f"guestbook-python-{run}",
            execution_timeout=STORY_LIMIT,
            **options,
        )

    book = await start(Guestbook.run, "Hello", "main")
    status = (await book.describe()).status
    story.step("start", status.name if status else "", "RUNNING")

    await book.signal(Guestbook.welcome, "Ada")
    written = await book.execute_update(Guestbook.wait_for_entries, 1)
    story.step("signal", written, "Hello, Ada!")

    story.step("query", await book.query(Guestbook.latest), "Hello, Ada!")

    typed = client.get_workflow_handle_for(Guestbook.run, book.id)
    await typed.signal(Guestbook.late_arrival, "Grace")
    written = await typed.execute_update(Guestbook.wait_for_entries, 2)
    story.step("signal with a name of its own, by a typed handle", written, "Hello, late Grace!")

    untyped = client.get_workflow_handle(book.id)
    first = await untyped.query("Entry number", 1)
    story.step("query with an argument, by an untyped handle", first, "Hello, Ada!")

    before = await book.execute_update(Guestbook.change_salutation, "Good day")
    story.step("update", before, "Hello")

    reason = await rejection(book.execute_update(Guestbook.change_salutation, "  "))
    story.step("update turned down by its validator", reason, "a salutation cannot be blank")

    accepted = await book.start_update(
        Guestbook.wait_for_entries, 3, wait_for_stage=WorkflowUpdateStage.ACCEPTED
    )
    await book.signal(Guestbook.welcome, "Katherine")
    later = await book.get_update_handle_for(Guestbook.wait_for_entries, accepted.id).result()
    story.step("update accepted now and answered later", later, "Good day, Katherine!")

    greeted = {"start_signal": "welcome"}
    second = await start(Guestbook.run, "Welcome", "second", **greeted, start_signal_args=["Joan"])
    written = await second.execute_update(Guestbook.wait_for_entries, 1)
    story.step("signal-with-start, not running yet", written, "Welcome, Joan!")

    again = await start(Guestbook.run, "Unused", "second", **greeted, start_signal_args=["Frances"])
    written = await second.execute_update(Guestbook.wait_for_entries, 2)
    same = "same run" if again.result_run_id == second.result_run_id else "another run"
    story.step("signal-with-start, running", [written, same], ["Welcome, Frances!", "same run"])

    messenger = await start(Messenger.run, book.id, "messenger")
    story.step(
        "signals from another workflow",
        await messenger.result(),
        ["typed", "by name", "no such book"],
    )
    written = await book.execute_update(Guestbook.wait_for_entries, 5)
    story.step("signals from another workflow, arrived", written, "Good day, late Radia!")

    await book.signal("sing", args=["la", 3])
    story.step("dynamic signal", await book.query(Guestbook.remarks), ["sing(la, 3)"])

    mood = await book.query("mood", "today")
    story.step("dynamic query", mood, "mood(today) after 5 entries")

    noted = await book.execute_update("toast", "Dorothy")
    story.step("dynamic update", noted, "noted as remark 2")

    reason = await rejection(book.execute_update("toast"))
    story.step("dynamic update turned down by its validator", reason, "toast says nothing")

    surprise = await start("Never heard of", "Margaret", "dynamic", result_type=str)
    story.step("dynamic workflow", await surprise.result(), "Never heard of: Hello, Margaret!")

    await second.signal(Guestbook.close)
    story.step(
        "signal without an argument, dynamic activity",
        await second.result(),
        ["Welcome, Joan!", "Welcome, Frances!", "binding of 2 entries"],
    )

    await book.signal("close")
    story.step(
        "result",
        await book.result(),
        [
            "Hello, Ada!",
            "Hello, late Grace!",
            "Good day, Katherine!",
            "Good day, Hedy!",
            "Good day, late Radia!",
            "binding of 5 entries",
        ],
    )

    story.step("query after the end", await book.query(Guestbook.latest), "Good day, late Radia!")

    try:
        await book.signal(Guestbook.welcome, "Too late")
        refusal = "taken"
    except RPCError as err:
        refusal = err.status.name
    story.step("signal after the end", refusal, RPCStatusCode.NOT_FOUND.name)

    story.step(
        "signals in the history",
        await events(book, ["WORKFLOW_EXECUTION_SIGNALED"]),
        ["welcome", "Late arrival", "welcome", "welcome", "Late arrival", "sing", "close"],
    )
    updates = await events(
        book,
        ["WORKFLOW_EXECUTION_UPDATE_ACCEPTED", "WORKFLOW_EXECUTION_UPDATE_COMPLETED"],
    )
    accepted_count = updates.count("WORKFLOW_EXECUTION_UPDATE_ACCEPTED")
    story.step(
        "updates in the history, the rejected ones left no trace",
        f"{accepted_count} accepted, {len(updates) - accepted_count} completed",
        "6 accepted, 6 completed",
    )
    story.step(
        "the messenger's history",
        await events(
            messenger,
            [
                "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED",
                "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED",
                "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED",
            ],
        ),
        [
            "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED",
            "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED",
            "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED",
            "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED",
            "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED",
            "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED",
        ],
    )


async def main() -> None:
    run = uuid.uuid4().hex[:12]
    client = await Client.connect(os.environ.get("TEMPORAL_ADDRESS") or "localhost:7233")
    async with Worker(
        client,
        task_queue=f"guestbook-python-{run}",
        workflows=[Guestbook, Messenger, AnyWorkflow],
        activities=[compose, any_activity],
    ):
        await tell(client, Story(), run)


def leave(status: int, message: str = "") -> NoReturn:
    """Ends the process at once, without tearing the interpreter down.

    The SDK's native threads outlive the client, and one that touches Python while it is being torn down crashes the
    process after all is done and well: https://github.com/temporalio/sdk-python/issues/300. A bare connect is enough.
    """
    if message:
        print(message, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    seconds = STORY_LIMIT.total_seconds()
    late = threading.Timer(seconds, leave, [1, f"the story did not end within {seconds:.0f} s"])
    late.daemon = True
    late.start()
    try:
        asyncio.run(main())
    except Surprise as surprise:
        leave(1, str(surprise))
    except Exception as err:
        leave(1, f"the story broke off: {type(err).__name__}: {err}")
    leave(0)
