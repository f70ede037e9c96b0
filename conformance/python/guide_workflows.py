"""The workflows of test_guide.py, in a module of their own because the SDK's sandbox imports it anew for each run."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RawValue


@dataclass
class Greeting:
    word: str
    name: str
    # Added after the first callers were written.
    mark: str = "!"


@activity.defn
async def compose(greeting: Greeting) -> str:
    return f"{greeting.word}, {greeting.name}{greeting.mark}"


@activity.defn(dynamic=True)
async def compose_dynamically(args: Sequence[RawValue]) -> str:
    greeting = activity.payload_converter().from_payload(args[0].payload, Greeting)
    return f"{greeting.word}, {greeting.name}{greeting.mark} ({activity.info().activity_type})"


@workflow.defn
class Greeter:
    """Greets whom it is told about, by signals of several names and shapes."""

    def __init__(self) -> None:
        self._pending: asyncio.Queue[Greeting] = asyncio.Queue()
        self._exit = False
        self._greetings: list[str] = []
        self._status = "new"

    @workflow.run
    async def run(self) -> list[str]:
        while True:
            await workflow.wait_condition(lambda: not self._pending.empty() or self._exit)
            while not self._pending.empty():
                self._greetings.append(
                    await workflow.execute_activity(
                        compose,
                        self._pending.get_nowait(),
                        start_to_close_timeout=timedelta(seconds=10),
                    )
                )
            if self._exit:
                return self._greetings

    @workflow.signal
    async def greet(self, greeting: Greeting) -> str:
        await self._pending.put(greeting)
        return "nobody gets this"

    @workflow.signal
    def exit(self) -> None:
        self._exit = True

    @workflow.signal(name="Custom Signal Name")
    async def custom(self, name: str) -> None:
        await self._pending.put(Greeting("Hi", name))

    @workflow.query
    def greetings(self) -> list[str]:
        return self._greetings

    @workflow.query(name="Custom Query Name")
    def custom_query(self) -> int:
        return len(self._greetings)

    @workflow.query
    def first(self, *, of: int) -> list[str]:
        return self._greetings[:of]

    @workflow.update
    async def set_status(self, status: str) -> Greeting:
        before, self._status = self._status, status
        await workflow.sleep(0.001)
        return Greeting(before, status)

    @set_status.validator
    def check_status(self, status: str) -> None:
        if status == self._status:
            raise ValueError(f"the status is {status} already")

    @workflow.update(name="Custom Update Name")
    def get_status(self) -> str:
        return self._status


@workflow.defn
class AskUnregistered:
    @workflow.run
    async def run(self, name: str) -> str:
        answer: str = await workflow.execute_activity(
            "unregistered_activity",
            Greeting("Hello", name),
            result_type=str,
            start_to_close_timeout=timedelta(seconds=10),
        )
        return answer


@workflow.defn(dynamic=True)
class Dynamic:
    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> str:
        name = workflow.payload_converter().from_payload(args[0].payload, str)
        return await workflow.execute_activity(
            compose, Greeting("Hello", name), start_to_close_timeout=timedelta(seconds=10)
        )


@workflow.defn
class Base:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    def who(self) -> str:
        return "base"


@workflow.defn
class Override(Base):
    @workflow.run
    async def run(self) -> None:
        await super().run()

    @workflow.update
    def who(self) -> str:
        return "override"
