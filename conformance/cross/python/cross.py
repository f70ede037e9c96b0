"""The Python side of the cross-language test: a worker for the workflow Basket, and a client that tells its story
against a worker in whatever language. Both know of each other the names on the wire and nothing else.

    cross.py worker TASK-QUEUE        says "working" and works until it is asked to end
    cross.py client TASK-QUEUE        prints what happened, a line a step

The server is at PERDURE_ADDRESS (default localhost:7233).
"""

import asyncio
import json
import os
import signal
import sys
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateStage,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from basket import Basket

STORY_LIMIT = timedelta(seconds=60)


def plain(value: Any) -> str:
    """A value as JSON with sorted keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def reason(failed: BaseException | None) -> str:
    """Names a failure as all languages do: type, message and details."""
    if not isinstance(failed, ApplicationError):
        return f"no application failure: {failed!r}"
    return ", ".join([str(failed.type), failed.message, *map(plain, failed.details)])


def same(run_id: str | None, other: str | None) -> str:
    return "same run" if run_id == other else "another run"


async def refusal(update: Awaitable[Any]) -> Any:
    """The answer to an update, or why there is none."""
    try:
        return await update
    except WorkflowUpdateFailedError as err:
        return f"refused, {reason(err.cause)}"


async def failure(handle: WorkflowHandle) -> BaseException | None:
    """What a workflow ended with."""
    try:
        await handle.result()
    except WorkflowFailureError as err:
        return err.cause
    return None


@dataclass
class Story:
    """What a client can do with baskets, in the same steps and words as the other languages."""

    client: Client
    queue: str
    prefix: str = field(default_factory=lambda: f"cross-python-{uuid.uuid4()}/")
    steps: int = 0

    def step(self, title: str, outcome: Any) -> None:
        self.steps += 1
        print(f"{self.steps:2} {title}: {outcome if isinstance(outcome, str) else plain(outcome)}", flush=True)

    def options(self, part: str) -> dict[str, Any]:
        return {"id": self.prefix + part, "task_queue": self.queue, "execution_timeout": STORY_LIMIT}

    def handle(self, part: str) -> WorkflowHandle:
        return self.client.get_workflow_handle(self.prefix + part)

    async def query(self, part: str, name: str, *args: Any) -> Any:
        """The answer, or why there is none."""
        try:
            return await self.handle(part).query(name, args=args)
        except WorkflowQueryFailedError as err:
            return f"failed, {err.message}"
        except RPCError as err:
            if err.status != RPCStatusCode.NOT_FOUND:
                raise
            return "not found"

    async def update(self, part: str, name: str, *args: Any) -> Any:
        return await refusal(self.handle(part).execute_update(name, args=args))

    async def last_line(self, part: str, count: int) -> str:
        """Waits for so many lines and returns the last."""
        lines = await self.update(part, "wait_for_lines", count)
        return lines[-1] if len(lines) == count else f"{count} lines expected: {lines}"

    async def update_with_start(self, part: str, name: str, *args: Any) -> tuple[Any, str | None]:
        """The update's outcome and the run it went to."""
        start = WithStartWorkflowOperation(
            "Basket",
            {"owner": "Joan"},
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            **self.options(part),
        )
        update = await self.client.start_update_with_start_workflow(
            name, args=args, start_workflow_operation=start, wait_for_stage=WorkflowUpdateStage.COMPLETED
        )
        return await refusal(update.result()), update.workflow_run_id

    async def counted(self, part: str) -> list[int]:
        """Counts signals, accepted updates and completed updates in a history."""
        kinds = [
            EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
            EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
            EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED,
        ]
        events = [event.event_type async for event in self.handle(part).fetch_history_events()]
        return [events.count(kind) for kind in kinds]

    async def tell(self) -> None:
        run = await self.client.start_workflow("Basket", {"owner": "Ada"}, **self.options("a"))
        await self.signals()
        await self.queries()
        await self.updates()
        await self.with_start(run)
        await self.ends(run)

    async def signals(self) -> None:
        a = self.handle("a")
        await a.signal("touch")
        self.step("signal without argument", await self.last_line("a", 1))
        await a.signal("remark", "größer als ½ ✓")
        self.step("signal with one argument", await self.last_line("a", 2))
        await a.signal("put", {"name": "pear", "count": 3, "tags": ["ripe", "green"]})
        self.step("signal with an object", await self.last_line("a", 3))
        await a.signal("move", args=["pear", 2, True])
        self.step("signal with several arguments", await self.last_line("a", 4))

    async def queries(self) -> None:
        self.step("query without argument", await self.query("a", "lines"))
        self.step("query with several arguments", [await self.query("a", "has", "pear", n) for n in (3, 4)])
        self.step("query for an object", await self.query("a", "summary"))
        self.step("query that fails", await self.query("a", "weigh"))
        known = await self.query("a", "taste")
        self.step("query nobody knows", "failed" if isinstance(known, str) else "answered")
        self.step("query to nobody", await self.query("nobody", "lines"))

    async def updates(self) -> None:
        a = self.handle("a")
        self.step("update", await self.update("a", "take", "pear", 1))
        self.step("update with an object", await self.update("a", "fill", {"name": "fig", "count": 2, "tags": []}))
        self.step("update rejected by its validator", await self.update("a", "take", "pear", 0))
        self.step("update that fails", await self.update("a", "take", "pear", 9))
        known = await self.update("a", "juggle")
        self.step("update nobody knows", "refused" if str(known).startswith("refused") else "answered")

        later = await a.start_update("wait_for_lines", 6, wait_for_stage=WorkflowUpdateStage.ACCEPTED)
        await a.signal("touch")
        answer = await refusal(later.result())
        self.step("update accepted now and answered later", answer)
        again = await refusal(a.get_update_handle(later.id).result())
        self.step("the same, asked for by its ID", again == answer)
        self.step("signals, accepted and completed updates", await self.counted("a"))

    async def with_start(self, run: WorkflowHandle) -> None:
        again = await self.client.start_workflow(
            "Basket", {"owner": "Joan"}, start_signal="remark", start_signal_args=["hello again"], **self.options("a")
        )
        where = same(again.result_run_id, run.result_run_id)
        self.step("signal-with-start, running", f"{await self.last_line('a', 7)}, {where}")
        await self.client.start_workflow(
            "Basket", {"owner": "Joan"}, start_signal="move", start_signal_args=["plum", 5, False], **self.options("b")
        )
        self.step("signal-with-start, not running", await self.last_line("b", 1))

        left, run_id = await self.update_with_start("a", "take", "pear", 1)
        self.step("update-with-start, running", f"{plain(left)}, {same(run_id, run.result_run_id)}")
        left, _ = await self.update_with_start("c", "fill", {"name": "kiwi", "count": 1, "tags": []})
        self.step("update-with-start, not running", f"{plain(left)}, {await self.last_line('c', 1)}")
        refused, _ = await self.update_with_start("d", "take", "kiwi", -1)
        status = (await self.handle("d").describe()).status
        self.step("update-with-start, rejected", f"{refused}, {status.name if status else None}")

    async def ends(self, run: WorkflowHandle) -> None:
        try:
            await self.client.start_workflow("Basket", {"owner": "Joan"}, **self.options("a"))
            outcome = "started"
        except WorkflowAlreadyStartedError:
            outcome = "already started"
        self.step("start of what is running", outcome)

        await run.signal("close")
        self.step("result", await run.result())
        self.step("query after the end", await self.query("a", "has", "fig", 2))
        try:
            await run.signal("touch")
            outcome = "taken"
        except RPCError as err:
            outcome = "not found" if err.status == RPCStatusCode.NOT_FOUND else str(err)
        self.step("signal after the end", outcome)

        b, c, d = (self.handle(part) for part in "bcd")
        await b.signal("spill", args=["over there", 7])
        self.step("a workflow that fails", reason(await failure(b)))
        await c.cancel()
        cancelled = isinstance(await failure(c), CancelledError)
        self.step("a workflow that is cancelled", "cancelled" if cancelled else "not cancelled")
        await d.terminate("enough")
        terminated = isinstance(await failure(d), TerminatedError)
        self.step("a workflow that is terminated", "terminated" if terminated else "not terminated")


async def work(client: Client, queue: str) -> None:
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    async with Worker(client, task_queue=queue, workflows=[Basket]):
        print("working", flush=True)
        await asked.wait()


async def main(role: str, queue: str) -> None:
    client = await Client.connect(os.environ.get("PERDURE_ADDRESS", "localhost:7233"))
    if role == "worker":
        await work(client, queue)
    else:
        await asyncio.wait_for(Story(client, queue).tell(), STORY_LIMIT.total_seconds())


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("worker", "client"):
        sys.exit("usage: cross.py worker|client TASK-QUEUE")
    asyncio.run(main(sys.argv[1], sys.argv[2]))
    # All is said. This SDK may crash while the interpreter takes itself down, which is not what is judged here.
    sys.stdout.flush()
    os._exit(0)
