"""The Python side of python_test.go: a worker for the workflow Ledger, or a client that tells its story to a Ledger.

    talk.py worker TASK-QUEUE                       says "working" and works until its standard input ends
    talk.py client TASK-QUEUE OTHER-QUEUE PREFIX    prints what happened, a line of JSON a step

The other queue is served by another language than the first; what a Ledger calls is there. Workflow IDs begin with the
prefix. The server is at PERDURE_TEST_ADDR. With PERDURE_TEST_CODEC every payload is encrypted.
"""

import asyncio
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Awaitable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import (
    AsyncActivityCancelledError,
    Client,
    Interceptor,
    OutboundInterceptor,
    QueryWorkflowInput,
    SignalWorkflowInput,
    StartWorkflowInput,
    StartWorkflowUpdateInput,
    StartWorkflowUpdateWithStartInput,
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
)
from temporalio.common import HeaderCodecBehavior, WorkflowIDConflictPolicy
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from ledger import Activities, Closing, Entry, Headers, Ledger, Opening, Person, Scribe, burnt, chain, stamp, with_who

LIMIT = timedelta(seconds=60)
PEAR = Entry(
    "pear ½",
    3,
    2.5,
    ["ripe", "green"],
    None,
    datetime(2024, 2, 29, 12, 34, 56, 789012, timezone.utc),
    Person("Ada", 36),
    {"pip": 5},
)


class Xor(PayloadCodec):
    """Encryption that a child can break."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(metadata={"encoding": b"binary/xor"}, data=bytes(b ^ 0x5A for b in p.SerializeToString()))
            for p in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload.FromString(bytes(b ^ 0x5A for b in p.data)) if p.metadata["encoding"] == b"binary/xor" else p
            for p in payloads
        ]


class Who(OutboundInterceptor):
    """Says with each message who sends it."""

    async def start_workflow(self, input: StartWorkflowInput) -> Any:
        input.headers = with_who(input.headers, "a client")
        return await super().start_workflow(input)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        input.headers = with_who(input.headers, "a client")
        await super().signal_workflow(input)

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        input.headers = with_who(input.headers, "a client")
        return await super().query_workflow(input)

    async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> Any:
        input.headers = with_who(input.headers, "a client")
        return await super().start_workflow_update(input)

    async def start_update_with_start_workflow(self, input: StartWorkflowUpdateWithStartInput) -> Any:
        input.start_workflow_input.headers = with_who(input.start_workflow_input.headers, "a client")
        input.update_workflow_input.headers = with_who(input.update_workflow_input.headers, "a client")
        return await super().start_update_with_start_workflow(input)


class WhoEverywhere(Interceptor):
    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return Who(next)


def same(run_id: str | None, other: str | None) -> str:
    return "same run" if run_id == other else "another run"


def shown(entry: Entry) -> dict[str, Any]:
    """An entry as all languages print it."""
    return {**dataclasses.asdict(entry), "when": stamp(entry.when)}


async def refusal(update: Awaitable[Any]) -> Any:
    """The answer to an update, or why there is none."""
    try:
        return await update
    except WorkflowUpdateFailedError as err:
        return chain(err.cause)


async def end(handle: WorkflowHandle[Any, Any]) -> Any:
    """What a workflow ended with."""
    try:
        return dataclasses.asdict(await handle.result())
    except WorkflowFailureError as err:
        return chain(err.cause)


class Story:
    def __init__(self, client: Client, named: Client, queue: str, other: str, prefix: str) -> None:
        self.client, self.named, self.queue, self.other, self.prefix = client, named, queue, other, prefix

    def step(self, title: str, outcome: Any) -> None:
        print(json.dumps({"step": title, "outcome": outcome}), flush=True)

    async def start(self, part: str, queue: str | None = None) -> WorkflowHandle[Ledger, Closing]:
        return await self.client.start_workflow(
            Ledger.run, Opening("Ada"), id=self.prefix + part, task_queue=queue or self.queue, execution_timeout=LIMIT
        )

    async def lines(self, handle: WorkflowHandle[Ledger, Closing], count: int) -> list[str]:
        """Waits for so many lines and returns them."""
        return await handle.execute_update(Ledger.wait_for, count)

    async def last(self, handle: WorkflowHandle[Ledger, Closing], count: int) -> str:
        lines = await self.lines(handle, count)
        return lines[-1] if len(lines) == count else f"{count} lines expected: {lines}"

    async def query(self, handle: WorkflowHandle[Any, Any], query: Any, *args: Any) -> Any:
        try:
            return await handle.query(query, args=args)
        except WorkflowQueryFailedError as err:
            # A worker in Python that encrypts failures sends nothing else of them.
            told = "the scale is broken" in err.message or err.message == "Encoded failure"
            return "failed, as it should" if told else f"failed, {err.message}"
        except RPCError as err:
            return "not found" if err.status == RPCStatusCode.NOT_FOUND else str(err)

    async def tell(self) -> None:
        a = await self.start("a")
        await self.signals(a)
        await self.queries(a)
        await self.updates(a)
        await self.looks(a)
        await self.headers()
        await self.with_start(a)
        await self.activities(a)
        await self.later(a)
        await self.children(a)
        await self.externals(a)
        await self.ends(a)

    async def signals(self, a: WorkflowHandle[Ledger, Closing]) -> None:
        await a.signal(Ledger.touch)
        self.step("signal without argument", await self.last(a, 1))
        await a.signal(Ledger.remark, "größer als ½ ✓")
        self.step("signal with one argument", await self.last(a, 2))
        await a.signal(Ledger.put, PEAR)
        self.step("signal with an object", await self.last(a, 3))
        await a.signal(Ledger.move, args=["pear", 2, True])
        self.step("signal with several arguments", await self.last(a, 4))
        await a.signal(Ledger.raw, b"\0\1\xfe\xff")
        self.step("signal with bytes", await self.last(a, 5))
        await a.signal(Ledger.note, None)
        self.step("signal with nothing in its argument", await self.last(a, 6))
        await a.signal("AnySignal", args=[{"x": 1}, 2])
        self.step("dynamic signal", await self.last(a, 7))

    async def queries(self, a: WorkflowHandle[Ledger, Closing]) -> None:
        self.step("query without argument", len(await self.query(a, Ledger.lines)))
        self.step("query with several arguments", [await self.query(a, Ledger.has, "pear ½", n) for n in (3, 4)])
        self.step("query for an object", shown(await self.query(a, Ledger.last)))
        self.step("query for bytes", list(await self.query(a, Ledger.held)))
        self.step("query for nothing", await self.query(a, Ledger.noted))
        self.step("query that fails", await self.query(a, Ledger.weigh))
        self.step("dynamic query", await self.query(a, "AnyQuery", 1, None))
        nobody = self.client.get_workflow_handle(self.prefix + "nobody")
        self.step("query to nobody", await self.query(nobody, "Lines"))

    async def updates(self, a: WorkflowHandle[Ledger, Closing]) -> None:
        left = await a.execute_update(Ledger.take, args=["pear ½", 1])
        self.step("update", dataclasses.asdict(left))
        self.step("update with an object and without a result", await a.execute_update(Ledger.fill, PEAR))
        self.step("update with bytes", list(await a.execute_update(Ledger.echo_bytes, b"\0\xff")))
        self.step("update with nothing", await a.execute_update(Ledger.echo_note, None))
        refused = await refusal(a.execute_update(Ledger.take, args=["pear ½", 0]))
        self.step("update rejected by its validator", refused)
        self.step("update that fails", await refusal(a.execute_update(Ledger.take, args=["pear ½", 9])))
        self.step("dynamic update", await a.execute_update("AnyUpdate", args=[1, 2, 3]))

        later = await a.start_update(Ledger.wait_for, 9, wait_for_stage=WorkflowUpdateStage.ACCEPTED, id="later")
        await a.signal(Ledger.touch)
        answer = await later.result()
        self.step("update accepted now and answered later", answer[-1])
        again = a.get_update_handle("later", result_type=list[str])
        self.step("the same, asked for by its ID", await again.result() == answer)

    async def looks(self, a: WorkflowHandle[Ledger, Closing]) -> None:
        found = await a.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        d = found.definition
        self.step("type in the metadata", d.type)
        for kind, all in (("signals", d.signal_definitions), ("queries", d.query_definitions), ("updates", d.update_definitions)):
            self.step(f"{kind} in the metadata", sorted(i.name for i in all if not i.name.startswith("__")))
        waiting = await a.start_update(Ledger.wait_for, 10, wait_for_stage=WorkflowUpdateStage.ACCEPTED)
        stack = await a.query("__stack_trace", result_type=str)
        self.step("stack trace", [word in stack.lower() for word in ("run", "wait", "ledger")])
        await a.signal(Ledger.touch)
        await waiting.result()

    async def headers(self) -> None:
        h = await self.named.start_workflow(
            Ledger.run, Opening("Ada"), id=self.prefix + "h", task_queue=self.queue, execution_timeout=LIMIT
        )
        self.step("headers of start and query", await h.query(Ledger.who))
        self.step("header of an update", await h.execute_update(Ledger.header))
        await h.signal(Ledger.remark, "hello")
        self.step("header of a signal", await self.last(h, 1))
        unnamed = self.client.get_workflow_handle_for(Ledger.run, h.id)
        self.step("no header", await unnamed.execute_update(Ledger.header))
        self.step("header of an activity", await h.execute_update(Ledger.call, args=[self.other, "Who"]))
        await h.signal(Ledger.close)
        await h.result()

    async def with_start(self, a: WorkflowHandle[Ledger, Closing]) -> None:
        b = await self.client.start_workflow(
            "Ledger", Opening("Joan"), id=a.id, task_queue=self.queue, start_signal="Remark", start_signal_args=["again"]
        )
        where = same(b.result_run_id, a.result_run_id)
        self.step("signal-with-start, running", f"{await self.last(a, 11)}, {where}")
        b = await self.client.start_workflow(
            Ledger.run,
            Opening("Joan"),
            id=self.prefix + "b",
            task_queue=self.queue,
            start_signal="Move",
            start_signal_args=["plum", 5, False],
        )
        self.step("signal-with-start, not running", await self.last(b, 1))
        update = await self.update_with_start("a", Ledger.take, "pear ½", 1)
        left = dataclasses.asdict(await update.result())
        self.step("update-with-start, running", [left, same(update.workflow_run_id, a.result_run_id)])
        update = await self.update_with_start("c", Ledger.take, "pear ½", 1)
        self.step("update-with-start, not running", await refusal(update.result()))
        try:
            update = await self.update_with_start("d", Ledger.take, "pear ½", -1)
            refused = await refusal(update.result())
        except WorkflowUpdateFailedError as err:
            refused = chain(err.cause)
        status = (await self.client.get_workflow_handle(self.prefix + "d").describe()).status
        self.step("update-with-start, rejected", [refused, status.name if status else None])

    async def update_with_start(self, part: str, update: Any, *args: Any) -> WorkflowUpdateHandle[Any]:
        start = WithStartWorkflowOperation(
            Ledger.run,
            Opening("Joan"),
            id=self.prefix + part,
            task_queue=self.queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        return await self.client.start_update_with_start_workflow(
            update, args=args, start_workflow_operation=start, wait_for_stage=WorkflowUpdateStage.COMPLETED
        )

    async def activities(self, a: WorkflowHandle[Ledger, Closing]) -> None:
        for title, how in (
            ("activity with an object and bytes", "echo"),
            ("activity that goes on where its heartbeat left off", "beat"),
            ("activity that fails", "Break"),
            ("activity that times out", "Slow"),
            ("activity that is canceled", "cancel"),
        ):
            self.step(title, await a.execute_update(Ledger.call, args=[self.other, how]))

    async def later(self, a: WorkflowHandle[Ledger, Closing]) -> None:
        """Completes activities of the other language's worker."""
        for number, activity_id in enumerate(("completed", "failed", "canceled")):
            update = await a.start_update(
                Ledger.later, args=[self.other, activity_id], wait_for_stage=WorkflowUpdateStage.ACCEPTED
            )
            # A line tells of each token; one more is in between, of the cancellation.
            await self.lines(a, 13 + number)
            token = await a.query(Ledger.held)
            if activity_id == "completed":
                by_token = self.client.get_async_activity_handle(task_token=token)
                await by_token.heartbeat("alive", 1)
                await by_token.complete(PEAR)
            elif activity_id == "failed":
                by_id = self.client.get_async_activity_handle(workflow_id=a.id, run_id=None, activity_id=activity_id)
                await by_id.fail(burnt())
            else:
                by_token = self.client.get_async_activity_handle(task_token=token)
                await a.signal(Ledger.remark, "cancel")
                try:
                    while True:
                        await by_token.heartbeat()
                except AsyncActivityCancelledError:
                    await by_token.report_cancellation("given up", 7)
            self.step(f"activity that is {activity_id} from outside", await update.result())

    async def children(self, a: WorkflowHandle[Ledger, Closing]) -> None:
        for how in ("complete", "fail", "cancel", "signal"):
            self.step(f"child: {how}", await a.execute_update(Ledger.child, args=[self.other, how]))

    async def externals(self, a: WorkflowHandle[Ledger, Closing]) -> None:
        other = await self.start("other", self.other)
        told = await a.execute_update(Ledger.tell, args=[other.id, "from afar"])
        self.step("signal to a workflow of the other language", [*told, await self.last(other, 1)])
        told = await other.execute_update(Ledger.tell, args=[a.id, "from far away"])
        self.step("signal from a workflow of the other language", [*told, await self.last(a, 17)])
        nobody = await a.execute_update(Ledger.tell, args=[self.prefix + "nobody", "?"])
        self.step("signal to nobody", nobody)
        stopped = await a.execute_update(Ledger.stop, args=[other.id])
        self.step("workflow of the other language canceled", [stopped, await end(other)])

    async def ends(self, a: WorkflowHandle[Ledger, Closing]) -> None:
        await a.signal(Ledger.close)
        closing = await end(a)
        self.step("result", [closing["owner"], len(closing["lines"])])
        self.step("query after the end", await self.query(a, Ledger.has, "pear ½", 4))
        try:
            await a.signal(Ledger.touch)
            outcome = "taken"
        except RPCError as err:
            outcome = "not found" if err.status == RPCStatusCode.NOT_FOUND else str(err)
        self.step("signal after the end", outcome)
        b, c, d = (self.client.get_workflow_handle_for(Ledger.run, self.prefix + part) for part in "bcd")
        await b.signal(Ledger.burn)
        self.step("a workflow that fails", await end(b))
        await c.cancel()
        self.step("a workflow that is cancelled", await end(c))
        await d.terminate("enough")
        self.step("a workflow that is terminated", await end(d))


async def connect(**more: Any) -> Client:
    converter = DataConverter.default
    behavior = HeaderCodecBehavior.NO_CODEC
    if os.environ.get("PERDURE_TEST_CODEC"):
        converter = DataConverter(
            payload_codec=Xor(), failure_converter_class=DefaultFailureConverterWithEncodedAttributes
        )
        behavior = HeaderCodecBehavior.CODEC
    address = os.environ["PERDURE_TEST_ADDR"]
    return await Client.connect(address, data_converter=converter, header_codec_behavior=behavior, **more)


async def work(queue: str) -> None:
    client = await connect()
    activities = Activities(client).all()
    async with Worker(
        client,
        task_queue=queue,
        workflows=[Ledger, Scribe],
        activities=activities,
        interceptors=[Headers()],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        print("working", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def tell(queue: str, other: str, prefix: str) -> None:
    named = await connect(interceptors=[WhoEverywhere()])
    await Story(await connect(), named, queue, other, prefix).tell()


if __name__ == "__main__":
    logging.getLogger("temporalio.activity").setLevel(logging.CRITICAL)  # whose failures are meant
    match sys.argv[1:]:
        case ["worker", queue]:
            asyncio.run(work(queue))
        case ["client", queue, other, prefix]:
            asyncio.run(asyncio.wait_for(tell(queue, other, prefix), LIMIT.total_seconds()))
        case _:
            sys.exit("usage: talk.py worker TASK-QUEUE | client TASK-QUEUE OTHER-QUEUE PREFIX")
    # All is said. This SDK may crash while the interpreter takes itself down, which is not what is judged here.
    sys.stdout.flush()
    os._exit(0)
