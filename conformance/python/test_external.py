"""Signals and cancellations from one workflow to another."""

import asyncio
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.api.command.v1 import (
    Command,
    SignalExternalWorkflowExecutionCommandAttributes,
)
from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.enums.v1 import (
    CancelExternalWorkflowExecutionFailedCause,
    CommandType,
    SignalExternalWorkflowExecutionFailedCause,
    WorkflowTaskFailedCause,
)
from temporalio.api.workflowservice.v1 import RespondWorkflowTaskCompletedRequest
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

import baggage
from rig import Hold, attributes, kind, of_kind, one

SIGNAL_NOT_FOUND = SignalExternalWorkflowExecutionFailedCause.Value(
    "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND"
)
CANCEL_NOT_FOUND = CancelExternalWorkflowExecutionFailedCause.Value(
    "CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND"
)
BAD_SIGNAL = WorkflowTaskFailedCause.Value(
    "WORKFLOW_TASK_FAILED_CAUSE_BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES"
)


@workflow.defn
class Receiver:
    """Returns what it was told, once it has been told enough. Continues as new when it hears "again"."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @workflow.run
    async def run(self, enough: int) -> list[str]:
        await workflow.wait_condition(lambda: len(self.told) >= enough or "again" in self.told)
        if "again" in self.told:
            workflow.continue_as_new(enough)
        return self.told

    @workflow.signal
    def tell(self, what: str) -> None:
        self.told.append(what)

    @workflow.signal
    def tell_baggage(self) -> None:
        self.told.append(baggage.current.get())

    @workflow.query
    def what(self) -> list[str]:
        return self.told


@workflow.defn
class Sender:
    """Tells another workflow something and returns the error it got, or nothing."""

    @workflow.run
    async def run(self, target: str, run_id: str, what: str) -> str:
        target = target or workflow.info().workflow_id
        handle = workflow.get_external_workflow_handle_for(
            Receiver.run, target, run_id=run_id or None
        )
        try:
            await handle.signal(Receiver.tell, what)
        except ApplicationError as err:
            return err.message
        return ""


async def test_m044_an_external_signal_leaves_its_events_on_both_sides(rig):
    async with rig.worker(Sender, Receiver):
        receiver = await rig.start(Receiver.run, 1)
        sender = await rig.start(Sender.run, receiver.id, "", "hello")
        assert await sender.result() == ""
        assert await receiver.result() == ["hello"]
    sent = await rig.events(sender)
    initiated = one(sent, "signal_external_workflow_execution_initiated")
    a = attributes(initiated)
    assert (a.workflow_execution.workflow_id, a.signal_name) == (receiver.id, "tell")
    assert [p.data for p in a.input.payloads] == [b'"hello"']
    assert not a.child_workflow_only
    signaled = one(sent, "external_workflow_execution_signaled")
    assert attributes(signaled).initiated_event_id == initiated.event_id
    assert attributes(signaled).workflow_execution.workflow_id == receiver.id
    assert kind(sent[signaled.event_id]) == "workflow_task_scheduled"

    received = attributes(one(await rig.events(receiver), "workflow_execution_signaled"))
    assert received.signal_name == "tell"
    assert received.input == a.input
    assert received.identity == "history-service"
    assert received.external_workflow_execution.workflow_id == sender.id
    assert received.external_workflow_execution.run_id == sender.result_run_id
    assert received.request_id


async def test_a_typed_external_handle_does_not_check_the_type(rig):
    async with rig.worker(Sender, Receiver, Listener):
        listener = await rig.start(Listener.run)
        assert await rig.execute(Sender.run, listener.id, "", "hello") == ""
        assert await listener.result() == "hello"


@workflow.defn
class Listener:
    """Has a signal of the same name as Receiver, and nothing else in common with it."""

    def __init__(self) -> None:
        self.told = ""

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.told != "")
        return self.told

    @workflow.signal
    def tell(self, what: str) -> None:
        self.told = what


NOT_FOUND = "Unable to signal external workflow because it was not found"


async def _assert_signal_failed(rig, sender) -> None:
    assert await sender.result() == NOT_FOUND
    events = await rig.events(sender)
    failed = attributes(one(events, "signal_external_workflow_execution_failed"))
    assert failed.cause == SIGNAL_NOT_FOUND
    assert failed.workflow_task_completed_event_id == 0
    initiated = one(events, "signal_external_workflow_execution_initiated")
    assert failed.initiated_event_id == initiated.event_id
    assert not of_kind(events, "external_workflow_execution_signaled")


async def test_m046_a_signal_to_an_unknown_workflow_fails(rig):
    async with rig.worker(Sender):
        await _assert_signal_failed(
            rig, await rig.start(Sender.run, "nobody-has-this-id", "", "hello")
        )


async def test_m047_a_signal_to_a_closed_workflow_or_to_itself_fails(rig):
    async with rig.worker(Sender, Receiver):
        receiver = await rig.start(Receiver.run, 0)
        assert await receiver.result() == []
        await _assert_signal_failed(rig, await rig.start(Sender.run, receiver.id, "", "hello"))
        assert not of_kind(await rig.events(receiver), "workflow_execution_signaled")
        to_itself = await rig.start(Sender.run, "", "", "hello")
        await _assert_signal_failed(rig, to_itself)
        assert not of_kind(await rig.events(to_itself), "workflow_execution_signaled")


@workflow.defn
class Parent:
    """Passes on to its child what it is told."""

    def __init__(self) -> None:
        self.to_say: list[str] = []

    @workflow.run
    async def run(self, child_id: str) -> list[str]:
        child = await workflow.start_child_workflow(Receiver.run, 2, id=child_id)
        while not child.done():
            await workflow.wait_condition(lambda: child.done() or self.to_say != [])
            while self.to_say:
                await child.signal(Receiver.tell, self.to_say.pop(0))
        return await child

    @workflow.signal
    def pass_on(self, what: str) -> None:
        self.to_say.append(what)


async def test_m048_a_parents_signal_follows_a_continuing_child_and_reaches_only_children(rig):
    async with rig.worker(Parent, Receiver):
        child = rig.client.get_workflow_handle(f"{rig.name}-child")
        parent = await rig.start(Parent.run, child.id)
        started = attributes(await rig.seen(parent, "child_workflow_execution_started"))
        first_run = rig.client.get_workflow_handle(
            child.id, run_id=started.workflow_execution.run_id
        )
        await parent.signal(Parent.pass_on, "again")
        await rig.seen(first_run, "workflow_execution_continued_as_new")
        await parent.signal(Parent.pass_on, "one")
        await parent.signal(Parent.pass_on, "two")
        assert await parent.result() == ["one", "two"]
    initiated = of_kind(await rig.events(parent), "signal_external_workflow_execution_initiated")
    assert len(initiated) == 3
    for event in initiated:
        assert attributes(event).child_workflow_only
        assert attributes(event).workflow_execution.run_id == ""
    assert len(of_kind(await rig.events(first_run), "workflow_execution_signaled")) == 1
    assert len(of_kind(await rig.events(child), "workflow_execution_signaled")) == 2

    # The SDK signals "children only" just to children. So the command comes from here.
    rig.without_code.add("ByHand")
    sender = await rig.start("ByHand")
    task = await rig.take_workflow_task(sender)
    stranger = await rig.start(Receiver.run, 1)
    await _signal_as_if_it_were_a_child(rig, task, stranger.id)
    failed = attributes(await rig.seen(sender, "signal_external_workflow_execution_failed"))
    assert failed.cause == SIGNAL_NOT_FOUND
    assert not of_kind(await rig.events(stranger), "workflow_execution_signaled")


async def _signal_as_if_it_were_a_child(rig, task, target: str) -> None:
    command = Command(
        command_type=CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION,
        signal_external_workflow_execution_command_attributes=SignalExternalWorkflowExecutionCommandAttributes(
            execution=WorkflowExecution(workflow_id=target),
            signal_name="tell",
            input=Payloads(),
            child_workflow_only=True,
        ),
    )
    await rig.client.workflow_service.respond_workflow_task_completed(
        RespondWorkflowTaskCompletedRequest(
            namespace=rig.client.namespace, task_token=task.task_token, commands=[command]
        )
    )


@workflow.defn
class Undecided:
    """Cancels what it sends, before the command left or after."""

    def __init__(self) -> None:
        self.told_to_cancel = False

    @workflow.run
    async def run(self, target: str, late: bool) -> str:
        if late:
            # The signal that tells to cancel comes now, and so is part of the very next workflow task.
            await workflow.execute_local_activity(
                "hold", start_to_close_timeout=timedelta(seconds=30)
            )
        handle = workflow.get_external_workflow_handle(target)
        sending = asyncio.create_task(handle.signal("tell", "hello"))
        await asyncio.sleep(0)  # the command is made
        if late:
            assert not self.told_to_cancel
            await workflow.wait_condition(lambda: self.told_to_cancel)
            assert not sending.done()
        sending.cancel()
        try:
            await sending
        except CancelledError as err:
            return f"cancelled: {err.message}"
        return "sent"

    @workflow.signal
    def cancel(self) -> None:
        self.told_to_cancel = True


async def test_m054_an_external_signal_can_be_cancelled_until_its_command_is_sent(rig):
    held = Hold()
    async with rig.worker(Undecided, Receiver, activities=[held.hold]):
        receiver = await rig.start(Receiver.run, 1)
        early = await rig.start(Undecided.run, receiver.id, False)
        assert await early.result() == "cancelled: Signal was cancelled before being sent"
        assert not of_kind(await rig.events(early), "signal_external_workflow_execution_initiated")
        assert await receiver.query(Receiver.what) == []

        late = await rig.start(Undecided.run, receiver.id, True)
        await held.entered.wait()
        await late.signal(Undecided.cancel)
        held.left.set()
        assert await late.result() == "sent"
        one(await rig.events(late), "external_workflow_execution_signaled")
        assert await receiver.result() == ["hello"]


@workflow.defn(name="Sender")
class SilentSender:
    """Sender, as it would be had it stopped sending."""

    @workflow.run
    async def run(self, target: str, run_id: str, what: str) -> str:
        return ""


async def test_m057_a_sent_signal_that_the_code_does_not_send_is_a_non_determinism_error(rig):
    async with rig.worker(Sender, Receiver):
        receiver = await rig.start(Receiver.run, 1)
        sender = await rig.start(Sender.run, receiver.id, "", "hello")
        assert await sender.result() == ""
    replayer = Replayer(workflows=[SilentSender], workflow_runner=UnsandboxedWorkflowRunner())
    with pytest.raises(workflow.NondeterminismError):
        await replayer.replay_workflow(await sender.fetch_history())


@workflow.defn
class BaggageSender:
    """Signals its child, and then another workflow."""

    @workflow.run
    async def run(self, child_id: str, other_id: str) -> list[str]:
        child = await workflow.start_child_workflow(Receiver.run, 1, id=child_id)
        await child.signal(Receiver.tell_baggage)
        await workflow.get_external_workflow_handle(other_id).signal("tell_baggage")
        return await child


async def test_m058_headers_travel_with_signals_to_children_and_to_others(rig):
    async with rig.worker(BaggageSender, Receiver, interceptors=[baggage.InWorker()]):
        other = await rig.start(Receiver.run, 1)
        assert await rig.execute(BaggageSender.run, f"{rig.name}-child", other.id) == [
            "from the parent"
        ]
        assert await other.result() == ["from another workflow"]


@workflow.defn
class Patient:
    """Ends when it is cancelled, with the reason, but only once it is allowed to."""

    def __init__(self) -> None:
        self.allowed = False

    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.wait_condition(lambda: False)
        except asyncio.CancelledError:
            await workflow.wait_condition(lambda: self.allowed)
        return workflow.cancellation_reason() or ""

    @workflow.signal
    def allow(self) -> None:
        self.allowed = True


@workflow.defn
class Canceller:
    """Cancels another workflow and returns the error it got, or nothing."""

    @workflow.run
    async def run(self, target: str, reason: str) -> str:
        handle = workflow.get_external_workflow_handle(target or workflow.info().workflow_id)
        try:
            await handle.cancel(reason=reason)
        except ApplicationError as err:
            return err.message
        return ""


async def test_m064_m069_an_external_cancel_leaves_its_events_on_both_sides_and_tells_the_reason(
    rig,
):
    async with rig.worker(Patient, Canceller):
        patient = await rig.start(Patient.run)
        canceller = await rig.start(Canceller.run, patient.id, "for a good reason")
        assert await canceller.result() == ""
        await patient.signal(Patient.allow)
        assert "for a good reason" in await patient.result()
    sent = await rig.events(canceller)
    initiated = one(sent, "request_cancel_external_workflow_execution_initiated")
    assert attributes(initiated).workflow_execution.workflow_id == patient.id
    requested = one(sent, "external_workflow_execution_cancel_requested")
    assert attributes(requested).initiated_event_id == initiated.event_id
    assert attributes(requested).workflow_execution.workflow_id == patient.id

    received = attributes(one(await rig.events(patient), "workflow_execution_cancel_requested"))
    assert received.external_initiated_event_id == initiated.event_id
    assert received.external_workflow_execution.workflow_id == canceller.id
    assert received.external_workflow_execution.run_id == canceller.result_run_id
    assert "for a good reason" in received.cause


async def test_m065_an_external_cancel_of_what_is_closed_or_being_cancelled_succeeds_without_an_event(
    rig,
):
    async with rig.worker(Patient, Canceller):
        patient = await rig.start(Patient.run)
        await patient.cancel()
        await rig.seen(patient, "workflow_execution_cancel_requested")
        again = await rig.start(Canceller.run, patient.id, "again")
        assert await again.result() == ""
        one(await rig.events(again), "external_workflow_execution_cancel_requested")
        one(await rig.events(patient), "workflow_execution_cancel_requested")

        await patient.signal(Patient.allow)
        await patient.result()
        closed = await rig.events(patient)
        late = await rig.start(Canceller.run, patient.id, "too late")
        assert await late.result() == ""
        one(await rig.events(late), "external_workflow_execution_cancel_requested")
        assert await rig.events(patient) == closed


async def test_m066_an_external_cancel_of_an_unknown_workflow_or_of_itself_fails(rig):
    async with rig.worker(Canceller):
        for target in ("nobody-has-this-id", ""):
            canceller = await rig.start(Canceller.run, target, "why not")
            assert (
                await canceller.result() == "Unable to cancel external workflow because not found"
            )
            events = await rig.events(canceller)
            failed = attributes(one(events, "request_cancel_external_workflow_execution_failed"))
            assert failed.cause == CANCEL_NOT_FOUND
            assert not of_kind(events, "workflow_execution_cancel_requested")


@workflow.defn
class ToNobody:
    @workflow.run
    async def run(self) -> None:
        await workflow.get_external_workflow_handle("").signal("tell", "hello")


async def test_a_signal_to_an_empty_id_fails_the_workflow_task(rig):
    """This SDK sends the command and leaves it to the server to say no."""
    async with rig.worker(ToNobody):
        sender = await rig.start(ToNobody.run)
        failed = attributes(await rig.seen(sender, "workflow_task_failed"))
        assert failed.cause == BAD_SIGNAL
        assert not of_kind(await rig.events(sender), "signal_external_workflow_execution_initiated")
