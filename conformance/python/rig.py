"""What tests share: a client that remembers what it starts, workers, waits for events, and the judgement at the end."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import UpdateWorkflowExecutionLifecycleStage as Stage
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.update.v1 import UpdateRef, WaitPolicy
from temporalio.api.workflowservice.v1 import (
    PollWorkflowExecutionUpdateRequest,
    PollWorkflowTaskQueueRequest,
    PollWorkflowTaskQueueResponse,
)
from temporalio.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    StartWorkflowInput,
    StartWorkflowUpdateWithStartInput,
    WorkflowHandle,
    WorkflowHistory,
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

import judge

# Nothing a test starts outlives this, whatever goes wrong.
EXECUTION_TIMEOUT = timedelta(minutes=5)

# The timeout of workflow tasks in tests where one fails. A worker reports only the first failure in a row and keeps
# silent about the next, so this is also the time until another worker gets the task.
QUICK = timedelta(seconds=1)


def kind(event: HistoryEvent) -> str:
    """The type of an event, such as workflow_task_scheduled."""
    return event.WhichOneof("attributes").removesuffix("_event_attributes")


def attributes(event: HistoryEvent) -> Any:
    return getattr(event, event.WhichOneof("attributes"))


def kinds(events: Sequence[HistoryEvent]) -> list[str]:
    return [kind(event) for event in events]


def of_kind(events: Sequence[HistoryEvent], wanted: str) -> list[HistoryEvent]:
    return [event for event in events if kind(event) == wanted]


def one(events: Sequence[HistoryEvent], wanted: str) -> HistoryEvent:
    found = of_kind(events, wanted)
    assert len(found) == 1, f"{len(found)} events {wanted} in {kinds(events)}"
    return found[0]


class Rig:
    """A client, a task queue and workers for one test."""

    def __init__(self, connection: Client, name: str, cached_workflows: int) -> None:
        self.name = f"{name}-{uuid.uuid4().hex[:12]}"
        self.task_queue = self.name
        self.cached_workflows = cached_workflows
        self.client = self.client_with(connection)
        # Types of workflows whose tasks the test itself answers; there is nothing to replay them with.
        self.without_code: set[str] = set()
        self._ids: set[str] = set()
        self._runs: set[tuple[str, str]] = set()
        self._workflows: dict[str | None, type] = {}
        self._interceptors: Sequence[Any] = ()

    @property
    def cached(self) -> bool:
        return self.cached_workflows > 0

    def client_with(self, connection: Client | None = None, *interceptors: Interceptor) -> Client:
        """A client with interceptors of its own, whose workflows are cleared away and judged like all others."""
        config = (connection or self.client).config()
        config["interceptors"] = [*interceptors, _Remember(self)]
        return Client(**config)

    @asynccontextmanager
    async def worker(
        self,
        *workflows: type,
        activities: Sequence[Callable] = (),
        interceptors: Sequence[Any] = (),
        **options: Any,
    ) -> AsyncIterator[Worker]:
        """Runs a worker. A workflow class is also what its runs are replayed with at the end; when several have one
        name, the last of them."""
        for defined in workflows:
            self._workflows[workflow._Definition.must_from_class(defined).name] = defined
        self._interceptors = interceptors or self._interceptors
        options.setdefault("task_queue", self.task_queue)
        options.setdefault("workflow_runner", UnsandboxedWorkflowRunner())
        options.setdefault("max_cached_workflows", self.cached_workflows)
        async with Worker(
            self.client,
            workflows=workflows,
            activities=activities,
            interceptors=interceptors,
            **options,
        ) as running:
            yield running

    def options(self, id: str = "") -> dict[str, Any]:
        """What a start needs: an ID that nobody else has, the task queue, a limit."""
        return {
            "id": f"{self.name}-{id or uuid.uuid4().hex[:8]}",
            "task_queue": self.task_queue,
            "execution_timeout": EXECUTION_TIMEOUT,
        }

    async def start(
        self, run: Any, *args: Any, id: str = "", **more: Any
    ) -> WorkflowHandle[Any, Any]:
        return await self.client.start_workflow(run, args=args, **(self.options(id) | more))

    async def execute(self, run: Any, *args: Any, **more: Any) -> Any:
        return await (await self.start(run, *args, **more)).result()

    def run_of(self, handle: WorkflowHandle[Any, Any]) -> WorkflowHandle[Any, Any]:
        """A handle to the run that handle's start made or found, and to no later one."""
        return self.client.get_workflow_handle(handle.id, run_id=handle.result_run_id)

    async def events(self, handle: WorkflowHandle[Any, Any]) -> list[HistoryEvent]:
        return list((await handle.fetch_history()).events)

    async def seen(
        self, handle: WorkflowHandle[Any, Any], wanted: str, times: int = 1
    ) -> HistoryEvent:
        """Waits until the history of handle's run has so many events of one kind, and returns the last of them."""
        async for event in handle.fetch_history_events(wait_new_event=True):
            if kind(event) == wanted:
                times -= 1
                if times == 0:
                    return event
        raise AssertionError(f"the run closed without {wanted}")

    async def stage(self, handle: WorkflowHandle[Any, Any], update_id: str) -> int | None:
        """How far an update is, as the server tells at once; None if it knows none."""
        request = PollWorkflowExecutionUpdateRequest(
            namespace=self.client.namespace,
            update_ref=UpdateRef(
                workflow_execution=WorkflowExecution(workflow_id=handle.id), update_id=update_id
            ),
            wait_policy=WaitPolicy(
                lifecycle_stage=Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED
            ),
        )
        try:
            return (
                await self.client.workflow_service.poll_workflow_execution_update(request)
            ).stage
        except RPCError as err:
            if err.status == RPCStatusCode.NOT_FOUND:
                return None
            raise

    async def admitted(self, handle: WorkflowHandle[Any, Any], *update_ids: str) -> None:
        """Waits until the server has the updates, which leaves no event to wait for."""

        async def known() -> bool:
            return None not in [await self.stage(handle, update_id) for update_id in update_ids]

        await until(known)

    async def admit(
        self, handle: WorkflowHandle[Any, Any], update: Any, *args: Any, id: str
    ) -> asyncio.Task[Any]:
        """Sends an update and waits until the server has it, not for its result, which the task gets."""
        executing = asyncio.create_task(handle.execute_update(update, args=args, id=id))
        await self.admitted(handle, id)
        return executing

    async def accepted(
        self, handle: WorkflowHandle[Any, Any], update: Any, *args: Any, **options: Any
    ) -> WorkflowUpdateHandle[Any]:
        return await handle.start_update(
            update, args=args, wait_for_stage=WorkflowUpdateStage.ACCEPTED, **options
        )

    async def take_workflow_task(
        self, handle: WorkflowHandle[Any, Any]
    ) -> PollWorkflowTaskQueueResponse:
        """Takes the next workflow task from the queue, as a worker would, and does nothing with it."""
        task = await self.client.workflow_service.poll_workflow_task_queue(
            PollWorkflowTaskQueueRequest(
                namespace=self.client.namespace,
                task_queue=TaskQueue(name=self.task_queue),
                identity="the test itself",
            )
        )
        assert task.workflow_execution.workflow_id == handle.id
        return task

    def remember(self, id: str, run_id: str = "") -> None:
        """Adds a workflow to those that are cleared away and judged."""
        self._ids.add(id)
        if run_id:
            self._runs.add((id, run_id))

    async def clear(self) -> None:
        """Terminates what is still open."""
        for id in self._ids:
            await self._terminate(id)

    async def judge(self, replay: bool = True) -> None:
        """Looks at every history that the test left, also at those of continued runs and of children: nothing
        impossible is in it, and the code that made it makes it again."""
        await self.clear()
        histories = await self._histories()
        for history in histories:
            faults = judge.history(history.events)
            assert not faults, (
                f"{history.workflow_id} {history.run_id}: {faults}\n{kinds(history.events)}"
            )
        replayable = [
            h
            for h in histories
            if self._has_code(h) and of_kind(h.events, "workflow_task_completed")
        ]
        if not replay or not replayable:
            return
        results = await Replayer(
            workflows=list(self._workflows.values()),
            interceptors=self._interceptors,
            workflow_runner=UnsandboxedWorkflowRunner(),
            debug_mode=True,  # however long it takes, nothing is a deadlock
        ).replay_workflows(_each(replayable), raise_on_replay_failure=False)
        assert not results.replay_failures, "the code does not make its history again"

    def _has_code(self, history: WorkflowHistory) -> bool:
        return attributes(history.events[0]).workflow_type.name not in self.without_code

    async def _histories(self) -> list[WorkflowHistory]:
        found: dict[tuple[str, str], WorkflowHistory] = {}
        wanted = list(self._runs)
        for id in self._ids:
            current = await self._current_run(id)
            if current:
                wanted.append((id, current))
        while wanted:
            id, run_id = wanted.pop()
            if (id, run_id) in found:
                continue
            handle = self.client.get_workflow_handle(id, run_id=run_id)
            history = await handle.fetch_history()
            if not judge.closed(history.events[-1]):
                await self._terminate(id, run_id)
                history = await handle.fetch_history()
            found[id, run_id] = WorkflowHistory(id, history.events)
            wanted.extend(_neighbours(id, history.events))
        return list(found.values())

    async def _current_run(self, id: str) -> str:
        try:
            return (await self.client.get_workflow_handle(id).describe()).run_id
        except RPCError as err:
            if err.status == RPCStatusCode.NOT_FOUND:  # its start failed
                return ""
            raise

    async def _terminate(self, id: str, run_id: str | None = None) -> None:
        try:
            await self.client.get_workflow_handle(id, run_id=run_id).terminate("the test is over")
        except RPCError as err:
            if err.status != RPCStatusCode.NOT_FOUND:
                raise


class Hold:
    """A local activity that lets a test do something while a workflow task is under way."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.left = asyncio.Event()

    @activity.defn
    async def hold(self) -> None:
        self.entered.set()
        await self.left.wait()


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Asks until the answer is yes: for what cannot be waited for. The test's own limit ends it."""
    while not await true():
        await asyncio.sleep(0.01)


async def _each(histories: Sequence[WorkflowHistory]) -> AsyncIterator[WorkflowHistory]:
    for history in histories:
        yield history


def _neighbours(id: str, events: Sequence[HistoryEvent]) -> list[tuple[str, str]]:
    """The runs that one run's history tells of: before it, after it, and its children."""
    runs = [(id, attributes(events[0]).continued_execution_run_id)]
    runs.append((id, getattr(attributes(events[-1]), "new_execution_run_id", "")))
    for event in of_kind(events, "child_workflow_execution_started"):
        child = attributes(event).workflow_execution
        runs.append((child.workflow_id, child.run_id))
    return [(id, run_id) for id, run_id in runs if run_id]


class _Remember(Interceptor):
    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _RememberStarts(next, self.rig)


class _RememberStarts(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, rig: Rig) -> None:
        super().__init__(next)
        self.rig = rig

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        self.rig.remember(input.id)
        handle = await super().start_workflow(input)
        self.rig.remember(handle.id, handle.result_run_id or "")
        return handle

    async def start_update_with_start_workflow(
        self, input: StartWorkflowUpdateWithStartInput
    ) -> WorkflowUpdateHandle[Any]:
        self.rig.remember(input.start_workflow_input.id)
        return await super().start_update_with_start_workflow(input)
