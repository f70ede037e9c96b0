"""Queries: what they see, what they may not do, and what the SDK answers by itself."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.common import QueryRejectCondition, RawValue

import baggage
from rig import of_kind


@activity.defn
async def nothing() -> None:
    pass


@workflow.defn
class Shelf:
    """Is asked about, in ways it should be and in ways it should not."""

    def __init__(self) -> None:
        self.items: list[str] = []
        self.closed = False

    @workflow.run
    async def run(self) -> list[str]:
        workflow.set_current_details("open for everybody")
        # A task of its own: of a coroutine that waits for another, the stack trace shows just the outer one.
        await asyncio.create_task(self.wait_until_closed())
        return self.items

    async def wait_until_closed(self) -> None:
        await workflow.wait_condition(lambda: self.closed)

    @workflow.signal(description="puts something on the shelf")
    def put(self, item: str) -> None:
        self.items.append(item)

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.update(description="takes the newest thing")
    def take(self) -> str:
        return self.items.pop()

    @workflow.query(description="everything on the shelf")
    def all(self) -> list[str]:
        return self.items

    @workflow.query
    def item(self, index: int) -> str:
        return self.items[index]

    @workflow.query
    def with_baggage(self) -> str:
        return baggage.current.get()

    @workflow.query
    def close_it(self) -> None:
        self.closed = True

    @workflow.query
    def start_activity(self) -> None:
        workflow.start_activity(nothing, start_to_close_timeout=timedelta(seconds=1))

    @workflow.query
    async def sleep(self) -> None:
        await asyncio.sleep(1)

    @workflow.query
    async def wait(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.query
    async def signal(self) -> None:
        await workflow.get_external_workflow_handle(workflow.info().workflow_id).signal("close")

    @workflow.query
    async def start_child(self) -> None:
        await workflow.start_child_workflow(Shelf.run)

    @workflow.query
    def set_handler(self) -> None:
        workflow.set_signal_handler("new", self.put)

    @workflow.query
    def continue_as_new(self) -> None:
        workflow.continue_as_new()

    @workflow.query
    def random(self) -> float:
        return workflow.random().random()


async def test_m096_a_query_of_an_unknown_name_fails_and_names_those_that_are_known(rig):
    async with rig.worker(Shelf):
        handle = await rig.start(Shelf.run)
        with pytest.raises(WorkflowQueryFailedError) as caught:
            await handle.query("unheard_of")
        for name in ("unheard_of", "all", "item", "__stack_trace", "__temporal_workflow_metadata"):
            assert name in caught.value.message


async def test_m097_a_query_with_missing_or_surplus_arguments_fails_but_no_workflow_task(rig):
    async with rig.worker(Shelf):
        handle = await rig.start(Shelf.run)
        await handle.signal(Shelf.put, "cup")
        for args in ([], [0, 0]):
            with pytest.raises(WorkflowQueryFailedError, match="positional argument"):
                await handle.query("item", args=args)
        assert await handle.query(Shelf.item, 0) == "cup"
        await handle.signal(Shelf.close)
        assert await handle.result() == ["cup"]
    assert not of_kind(await rig.events(handle), "workflow_task_failed")


async def test_m098_a_query_that_wants_to_do_something_fails_and_nothing_happens(rig):
    async with rig.worker(Shelf, activities=[nothing]):
        handle = await rig.start(Shelf.run)
        await handle.query(Shelf.all)
        before = await rig.events(handle)
        for query in (
            Shelf.start_activity,
            Shelf.sleep,
            Shelf.wait,
            Shelf.signal,
            Shelf.start_child,
            Shelf.set_handler,
            Shelf.continue_as_new,
            Shelf.random,
        ):
            with pytest.raises(WorkflowQueryFailedError):
                await handle.query(query)
        assert await rig.events(handle) == before
        await handle.signal(Shelf.put, "cup")
        await handle.signal(Shelf.close)
        assert await handle.result() == ["cup"]


async def test_m099_a_query_does_not_trigger_a_wait_condition(rig):
    async with rig.worker(Shelf):
        handle = await rig.start(Shelf.run)
        await handle.query(Shelf.all)
        before = await rig.events(handle)
        await handle.query(Shelf.close_it)  # it may not, but nobody can keep it from doing so
        assert await handle.query(Shelf.all) == []
        assert await rig.events(handle) == before
        assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING


async def test_m100_the_stack_trace_names_the_place_where_the_workflow_waits(rig):
    async with rig.worker(Shelf):
        handle = await rig.start(Shelf.run)
        stack = await handle.query("__stack_trace", result_type=str)
        assert "wait_until_closed" in stack and "test_queries.py" in stack
        enhanced = await handle.query("__enhanced_stack_trace")
        assert "wait_until_closed" in str(enhanced)
        await handle.terminate()
        closed = await handle.query("__stack_trace", result_type=str)
        assert "wait_until_closed" in closed and "test_queries.py" in closed


@workflow.defn
class Librarian:
    """Has handlers of every kind, named and dynamic."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @workflow.run
    async def run(self) -> None:
        workflow.set_current_details("**reading**")
        await workflow.wait_condition(lambda: False)

    @workflow.signal(name="zeta", description="the last letter but two")
    def z(self) -> None: ...

    @workflow.signal(name="alpha")
    def a(self) -> None: ...

    @workflow.signal(dynamic=True, description="any other")
    def any_signal(self, name: str, args: Sequence[RawValue]) -> None: ...

    @workflow.query
    def q(self) -> None: ...

    @workflow.query(dynamic=True)
    def any_query(self, name: str, args: Sequence[RawValue]) -> str:
        return f"any query: {name}"

    @workflow.update
    def u(self) -> None: ...

    @workflow.update(name="b u")
    def bu(self) -> None: ...

    @workflow.update(dynamic=True)
    def any_update(self, name: str, args: Sequence[RawValue]) -> None: ...


async def test_m101_the_metadata_list_all_handlers_sorted_with_their_descriptions_and_the_current_details(
    rig,
):
    async with rig.worker(Librarian):
        handle = await rig.start(Librarian.run)
        metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    definition = metadata.definition
    assert definition.type == "Librarian"
    assert [(d.name, d.description) for d in definition.signal_definitions] == [
        ("", "any other"),
        ("alpha", ""),
        ("zeta", "the last letter but two"),
    ]
    queries = [d.name for d in definition.query_definitions]
    assert queries == sorted(queries)
    assert {"", "q"} <= set(queries)
    assert [d.name for d in definition.update_definitions] == ["", "b u", "u"]
    assert metadata.current_details == "**reading**"


async def test_m102_a_dynamic_query_handler_does_not_see_the_built_in_names(rig):
    async with rig.worker(Librarian):
        handle = await rig.start(Librarian.run)
        assert await handle.query("unheard_of") == "any query: unheard_of"
        for name in ("__stack_trace", "__enhanced_stack_trace", "__temporal_workflow_metadata"):
            assert "any query" not in str(await handle.query(name))


async def test_m103_a_query_after_a_restart_of_the_worker_answers_the_same(rig):
    async with rig.worker(Shelf):
        handle = await rig.start(Shelf.run)
        for item in ("cup", "book", "key"):
            await handle.signal(Shelf.put, item)
        assert await handle.execute_update(Shelf.take) == "key"
        before = await handle.query(Shelf.all)
        assert before == ["cup", "book"]
    async with rig.worker(Shelf):
        assert await handle.query(Shelf.all) == before
        await handle.signal(Shelf.close)
        assert await handle.result() == before
    async with rig.worker(Shelf):
        assert await handle.query(Shelf.all) == before


async def test_m104_an_error_in_a_query_handler_fails_the_query_alone(rig):
    async with rig.worker(Shelf):
        handle = await rig.start(Shelf.run)
        with pytest.raises(WorkflowQueryFailedError, match="list index out of range"):
            await handle.query(Shelf.item, 7)
        await handle.signal(Shelf.put, "cup")
        assert await handle.query(Shelf.item, 0) == "cup"
    assert not of_kind(await rig.events(handle), "workflow_task_failed")


async def test_m105_a_result_of_another_type_than_the_client_expects_is_the_clients_error_alone(
    rig,
):
    async with rig.worker(Shelf):
        handle = await rig.start(Shelf.run)
        await handle.query(Shelf.all)
        before = await rig.events(handle)
        with pytest.raises((TypeError, RuntimeError)):
            await handle.query("all", result_type=int)
        assert await handle.query("all", result_type=list[str]) == []
        assert await rig.events(handle) == before


async def test_m108_a_header_set_by_the_client_reaches_the_query_interceptor(rig):
    async with rig.worker(Shelf, interceptors=[baggage.InWorker()]):
        handle = await rig.start(Shelf.run)
        client = rig.client_with(None, baggage.FromClient("from the client"))
        with_baggage = client.get_workflow_handle(handle.id)
        assert await with_baggage.query(Shelf.with_baggage) == "from the client"
        assert await handle.query(Shelf.with_baggage) == ""


async def test_a_query_sees_the_signal_that_was_answered_before_it(rig):
    async with rig.worker(Shelf):
        handle = await rig.start(Shelf.run)
        for i in range(20):
            await handle.signal(Shelf.put, str(i))
            assert len(await handle.query(Shelf.all)) == i + 1


@pytest.mark.one_cache(
    "with none, this SDK drops the queries that come for a run while it evicts it"
)
async def test_queries_at_once_are_all_answered_and_leave_no_event(rig):
    async with rig.worker(Shelf):
        handle = await rig.start(Shelf.run)
        await handle.signal(Shelf.put, "cup")
        await handle.query(Shelf.all)
        before = await rig.events(handle)
        answers = await asyncio.gather(*(handle.query(Shelf.all) for _ in range(50)))
        assert answers == [["cup"]] * 50
        assert await rig.events(handle) == before


async def test_a_query_from_before_the_first_workflow_task_waits_for_the_worker(rig):
    handle = await rig.start(Shelf.run)
    await handle.signal(Shelf.put, "cup")
    query = asyncio.create_task(handle.query(Shelf.all))
    async with rig.worker(Shelf):
        assert await query == ["cup"]


async def test_a_reject_condition_turns_queries_of_closed_runs_down(rig):
    async with rig.worker(Shelf):
        handle = await rig.start(Shelf.run)
        condition: Any = QueryRejectCondition.NOT_OPEN
        assert await handle.query(Shelf.all, reject_condition=condition) == []
        await handle.signal(Shelf.close)
        await handle.result()
        with pytest.raises(WorkflowQueryRejectedError) as caught:
            await handle.query(Shelf.all, reject_condition=condition)
        assert caught.value.status == WorkflowExecutionStatus.COMPLETED
        cleanly = QueryRejectCondition.NOT_COMPLETED_CLEANLY
        assert await handle.query(Shelf.all, reject_condition=cleanly) == []
