"""The workflow Ledger and what it calls, in Python. ledger_test.go holds the same in Go; both go by the names on the wire."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import temporalio.worker
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue, RetryPolicy
from temporalio.converter import default
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    TerminatedError,
    TimeoutError,
)

TEN_SECONDS = timedelta(seconds=10)
ONCE = RetryPolicy(maximum_attempts=1)

# What came in the header "who" of what is handled.
header_of: ContextVar[str] = ContextVar("header_of")


@dataclass
class Person:
    name: str
    age: int


@dataclass
class Entry:
    title: str
    count: int
    price: float
    tags: list[str]
    note: str | None
    when: datetime
    owner: Person
    extra: dict[str, int]


@dataclass
class Opening:
    owner: str


@dataclass
class Closing:
    owner: str
    lines: list[str]


@dataclass
class Left:
    name: str
    left: int


def plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def stamp(when: datetime) -> str:
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def chain(failed: BaseException | None) -> list[str]:
    """An error and its causes, in words that both languages share."""
    lines = []
    while failed is not None:
        if isinstance(failed, ActivityError):
            lines.append(f"activity {failed.activity_type}")
        elif isinstance(failed, ChildWorkflowError):
            lines.append(f"child {failed.workflow_type}")
        elif isinstance(failed, CancelledError):
            lines.append(f"canceled {plain(list(failed.details))}")
        elif isinstance(failed, TerminatedError):
            lines.append("terminated")
        elif isinstance(failed, TimeoutError):
            lines.append(f"timeout {failed.type.name if failed.type is not None else None}")
        elif isinstance(failed, ApplicationError):
            again = "final" if failed.non_retryable else "retryable"
            lines.append(f"application {failed.type}: {failed.message} {plain(list(failed.details))} {again}")
        else:
            lines.append(f"{type(failed).__name__}: {failed}")
        failed = failed.__cause__
    return lines


def burnt() -> ApplicationError:
    """A failure with everything that one can have."""
    try:
        try:
            raise ApplicationError("a spark", [1, 2], type="Spark")
        except ApplicationError as spark:
            raise ApplicationError("the ledger burnt", {"pages": 3}, "all", type="Burnt", non_retryable=True) from spark
    except ApplicationError as err:
        return err


@workflow.defn(name="Scribe")
class Scribe:
    """The child: it ends in the way it is told to."""

    def __init__(self) -> None:
        self._said: list[str] = []

    @workflow.run
    async def run(self, entry: Entry, how: str) -> Entry:
        if how == "fail":
            raise burnt()
        if how == "wait":
            await workflow.wait_condition(lambda: bool(self._said))
            entry.tags = self._said
        entry.title += " copied"
        return entry

    @workflow.signal(name="Say")
    def say(self, what: str, times: int) -> None:
        self._said.extend([what] * times)


@workflow.defn(name="Ledger")
class Ledger:
    @workflow.init
    def __init__(self, opening: Opening) -> None:
        self._owner = opening.owner
        self._by = ""
        self._lines: list[str] = []
        self._entry: Entry | None = None
        self._bytes = b""
        self._note: str | None = "unset"
        self._left: dict[str, int] = {}
        self._burnt = False
        self._closed = False

    @workflow.run
    async def run(self, opening: Opening) -> Closing:
        self._by = header_of.get("")
        await workflow.wait_condition(lambda: self._closed or self._burnt)
        if self._burnt:
            raise burnt()
        return Closing(self._owner, self._lines)

    @workflow.signal(name="Touch")
    def touch(self) -> None:
        """Adds a line."""
        self._lines.append("touch")

    @workflow.signal(name="Remark")
    def remark(self, text: str) -> None:
        who = header_of.get("")
        self._lines.append(f"remark {text}" + (f" from {who}" if who else ""))

    @workflow.signal(name="Put")
    def put(self, entry: Entry) -> None:
        self._entry = entry
        self._left[entry.title] = self._left.get(entry.title, 0) + entry.count
        self._lines.append(f"put {entry.title}")

    @workflow.signal(name="Move")
    def move(self, name: str, steps: int, left: bool) -> None:
        self._lines.append(f"move {name} {steps} {'true' if left else 'false'}")

    @workflow.signal(name="Raw")
    def raw(self, data: bytes) -> None:
        self._bytes = data
        self._lines.append(f"raw {len(data)}")

    @workflow.signal(name="Note")
    def note(self, text: str | None) -> None:
        self._note = text
        self._lines.append("note")

    @workflow.signal(name="Burn")
    def burn(self) -> None:
        self._burnt = True

    @workflow.signal(name="Close")
    def close(self) -> None:
        self._closed = True

    @workflow.signal(dynamic=True)
    def any_signal(self, name: str, args: Sequence[RawValue]) -> None:
        first = workflow.payload_converter().from_payload(args[0].payload) if args else None
        self._lines.append(f"signal {name} {len(args)} {plain(first)}")

    @workflow.query(name="Lines")
    def lines(self) -> list[str]:
        return self._lines

    @workflow.query(name="Has")
    def has(self, name: str, count: int) -> bool:
        return self._left.get(name, 0) >= count

    @workflow.query(name="Last")
    def last(self) -> Entry | None:
        return self._entry

    @workflow.query(name="Bytes")
    def held(self) -> bytes:
        return self._bytes

    @workflow.query(name="Noted")
    def noted(self) -> str | None:
        return self._note

    @workflow.query(name="Weigh")
    def weigh(self) -> int:
        raise ApplicationError("the scale is broken", type="Broken")

    @workflow.query(name="Who")
    def who(self) -> list[str]:
        """Who started this, and who asks."""
        return [self._by, header_of.get("")]

    @workflow.query(dynamic=True)
    def any_query(self, name: str, args: Sequence[RawValue]) -> str:
        return f"query {name} {len(args)}"

    @workflow.update(name="Take")
    def take(self, name: str, count: int) -> Left:
        have = self._left.get(name, 0)
        if have < count:
            raise ApplicationError(f"only {have} of {name}", Left(name, have), type="NotEnough", non_retryable=True)
        self._left[name] = have - count
        return Left(name, self._left[name])

    @take.validator
    def check_take(self, name: str, count: int) -> None:
        if count <= 0:
            raise ApplicationError(f"the count has to be positive, not {count}", count, type="BadCount")

    @workflow.update(name="Fill")
    async def fill(self, entry: Entry) -> None:
        self.put(entry)

    @workflow.update(name="EchoBytes")
    async def echo_bytes(self, data: bytes) -> bytes:
        return data

    @workflow.update(name="EchoNote")
    async def echo_note(self, text: str | None) -> str | None:
        return text

    @workflow.update(name="WaitFor")
    async def wait_for(self, count: int) -> list[str]:
        await workflow.wait_condition(lambda: len(self._lines) >= count)
        return self._lines

    @workflow.update(name="Header")
    async def header(self) -> str:
        return header_of.get("")

    @workflow.update(dynamic=True)
    async def any_update(self, name: str, args: Sequence[RawValue]) -> str:
        return f"update {name} {len(args)}"

    @workflow.update(name="Call")
    async def call(self, queue: str, how: str) -> list[str]:
        """Runs an activity in the other language."""
        if how == "echo":
            entry = await workflow.execute_activity(
                "Echo", args=[self._entry, b"\0\xff"], result_type=Entry, task_queue=queue, start_to_close_timeout=TEN_SECONDS
            )
            return [entry.title, stamp(entry.when), plain(entry == self._entry)]
        if how == "beat":
            return await workflow.execute_activity(
                "Beat",
                result_type=list[str],
                task_queue=queue,
                start_to_close_timeout=TEN_SECONDS,
                heartbeat_timeout=TEN_SECONDS,
                retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
            )
        if how == "cancel":
            handle = workflow.start_activity(
                "Sleep",
                workflow.info().workflow_id,
                task_queue=queue,
                start_to_close_timeout=TEN_SECONDS,
                heartbeat_timeout=timedelta(seconds=1),
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
            before = len(self._lines)
            await workflow.wait_condition(lambda: len(self._lines) > before)
            handle.cancel()
            return await outcome(handle)
        return await outcome(
            workflow.start_activity(
                how, task_queue=queue, start_to_close_timeout=timedelta(seconds=1), retry_policy=ONCE
            )
        )

    @workflow.update(name="Later")
    async def later(self, queue: str, activity_id: str) -> list[str]:
        """Runs an activity that somebody else completes."""
        handle = workflow.start_activity(
            "Later",
            task_queue=queue,
            activity_id=activity_id,
            result_type=Entry,
            start_to_close_timeout=TEN_SECONDS,
            heartbeat_timeout=TEN_SECONDS,
            retry_policy=ONCE,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        if activity_id == "canceled":
            await workflow.wait_condition(lambda: self._lines[-1] == "remark cancel")
            handle.cancel()
        return await outcome(handle, lambda entry: [entry.title, plain(entry == self._entry)])

    @workflow.update(name="Child")
    async def child(self, queue: str, how: str) -> list[str]:
        """Runs a child workflow in the other language."""
        child = await workflow.start_child_workflow(
            "Scribe",
            args=[self._entry, "wait" if how in ("cancel", "signal") else how],
            id=f"{workflow.info().workflow_id}/{how}",
            result_type=Entry,
            task_queue=queue,
        )
        if how == "cancel":
            child.cancel()
        elif how == "signal":
            await child.signal("Say", args=["ho", 2])
        return await outcome(child, lambda entry: [entry.title, *entry.tags])

    @workflow.update(name="Tell")
    async def tell(self, workflow_id: str, text: str) -> list[str]:
        try:
            await workflow.get_external_workflow_handle(workflow_id).signal("Remark", text)
        except ApplicationError as err:
            if err.type == "ExternalWorkflowExecutionNotFound":
                return ["nobody there"]
            raise
        return ["told"]

    @workflow.update(name="Stop")
    async def stop(self, workflow_id: str) -> list[str]:
        await workflow.get_external_workflow_handle(workflow_id).cancel()
        return ["stopped"]


async def outcome(handle: Any, words: Callable[[Any], list[str]] = lambda value: [plain(value)]) -> list[str]:
    try:
        return words(await handle)
    except (ActivityError, ChildWorkflowError) as err:
        return chain(err)
    except asyncio.CancelledError:
        return ["canceled by asyncio"]


class Activities:
    """What a Ledger in another language calls."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def all(self) -> list[Callable[..., Any]]:
        return [self.echo, self.beat, self.break_, self.slow, self.sleep, self.later, self.who]

    @activity.defn(name="Echo")
    async def echo(self, entry: Entry, data: bytes) -> Entry:
        if data != b"\0\xff":
            raise ApplicationError(f"got {data!r}", non_retryable=True)
        return entry

    @activity.defn(name="Beat")
    async def beat(self) -> list[str]:
        if activity.info().attempt == 1:
            activity.heartbeat("half", {"step": 2})
            raise ApplicationError("tired", type="Tired")
        return [plain(value) for value in activity.info().heartbeat_details]

    @activity.defn(name="Break")
    async def break_(self) -> None:
        raise burnt()

    @activity.defn(name="Slow")
    async def slow(self) -> None:
        await asyncio.sleep(5)

    @activity.defn(name="Sleep")
    async def sleep(self, workflow_id: str) -> None:
        await self._client.get_workflow_handle(workflow_id).signal("Remark", "asleep")
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.05)

    @activity.defn(name="Later")
    async def later(self) -> None:
        info = activity.info()
        await self._client.get_workflow_handle(str(info.workflow_id)).signal("Raw", info.task_token)
        activity.raise_complete_async()

    @activity.defn(name="Who")
    async def who(self) -> str:
        return header_of.get("")


def who_of(headers: Mapping[str, Payload]) -> str:
    return default().payload_converter.from_payload(headers["who"], str) if "who" in headers else ""


def with_who(headers: Mapping[str, Payload], who: str) -> dict[str, Payload]:
    return {**headers, "who": default().payload_converter.to_payload(who)}


class Inbound(temporalio.worker.WorkflowInboundInterceptor):
    def init(self, outbound: temporalio.worker.WorkflowOutboundInterceptor) -> None:
        super().init(Outbound(outbound))

    async def execute_workflow(self, input: temporalio.worker.ExecuteWorkflowInput) -> Any:
        header_of.set(who_of(input.headers))
        return await super().execute_workflow(input)

    async def handle_signal(self, input: temporalio.worker.HandleSignalInput) -> None:
        header_of.set(who_of(input.headers))
        await super().handle_signal(input)

    async def handle_query(self, input: temporalio.worker.HandleQueryInput) -> Any:
        header_of.set(who_of(input.headers))
        return await super().handle_query(input)

    async def handle_update_handler(self, input: temporalio.worker.HandleUpdateInput) -> Any:
        header_of.set(who_of(input.headers))
        return await super().handle_update_handler(input)


class Outbound(temporalio.worker.WorkflowOutboundInterceptor):
    def start_activity(self, input: temporalio.worker.StartActivityInput) -> Any:
        input.headers = with_who(input.headers, "a workflow")
        return super().start_activity(input)

    async def signal_external_workflow(self, input: temporalio.worker.SignalExternalWorkflowInput) -> None:
        input.headers = with_who(input.headers, "a workflow")
        await super().signal_external_workflow(input)


class ActivityInbound(temporalio.worker.ActivityInboundInterceptor):
    async def execute_activity(self, input: temporalio.worker.ExecuteActivityInput) -> Any:
        header_of.set(who_of(input.headers))
        return await super().execute_activity(input)


class Headers(temporalio.worker.Interceptor):
    def intercept_activity(
        self, next: temporalio.worker.ActivityInboundInterceptor
    ) -> temporalio.worker.ActivityInboundInterceptor:
        return ActivityInbound(next)

    def workflow_interceptor_class(
        self, input: temporalio.worker.WorkflowInterceptorClassInput
    ) -> type[temporalio.worker.WorkflowInboundInterceptor]:
        return Inbound
