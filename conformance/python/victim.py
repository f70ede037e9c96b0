"""A worker in a process of its own, made to be killed.

    victim.py ADDRESS TASK-QUEUE CACHED-WORKFLOWS

It says "ready" when it works, and "busy" when one of its activities has begun, which then never ends.
"""

import asyncio
import sys
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker


@workflow.defn
class Resilient:
    """Its updates take their time, each in its own way."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.go = False
        self.closed = False

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.closed and workflow.all_handlers_finished())
        return self.log

    @workflow.update
    async def wait_for_signal(self, what: str) -> int:
        await workflow.wait_condition(lambda: self.go)
        return self._write(what)

    @workflow.update
    async def wait_for_activity(self, what: str) -> int:
        await workflow.execute_activity(
            "work",
            start_to_close_timeout=timedelta(seconds=30),
            heartbeat_timeout=timedelta(seconds=1),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
        )
        return self._write(what)

    @workflow.update
    async def wait_for_local_activity(self, what: str) -> int:
        await workflow.execute_local_activity("work", start_to_close_timeout=timedelta(seconds=30))
        return self._write(what)

    @workflow.signal
    def proceed(self) -> None:
        self.go = True

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    def _write(self, what: str) -> int:
        self.log.append(what)
        return len(self.log)


def say(what: str) -> None:
    print(what, flush=True)


@activity.defn(name="work")
async def work_forever() -> None:
    say("busy")
    await asyncio.Event().wait()


async def main(address: str, task_queue: str, cached_workflows: str) -> None:
    async with Worker(
        await Client.connect(address),
        task_queue=task_queue,
        workflows=[Resilient],
        activities=[work_forever],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=int(cached_workflows),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
    ):
        say("ready")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
