"""Interceptors that carry one header, the baggage, with every message, and let handlers see it."""

from contextvars import ContextVar
from typing import Any

from temporalio import client, converter, worker

HEADER = "baggage"

# What came with the message whose handler runs.
current: ContextVar[str] = ContextVar("baggage", default="")

_converter = converter.default().payload_converter


def _read(input: Any) -> str:
    payload = input.headers.get(HEADER)
    return _converter.from_payload(payload, str) if payload else ""


def _with(input: Any, baggage: str) -> Any:
    input.headers = {**input.headers, HEADER: _converter.to_payload(baggage)}
    return input


class FromClient(client.Interceptor):
    def __init__(self, baggage: str) -> None:
        self.baggage = baggage

    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:
        return _FromClient(next, self.baggage)


class _FromClient(client.OutboundInterceptor):
    def __init__(self, next: client.OutboundInterceptor, baggage: str) -> None:
        super().__init__(next)
        self.baggage = baggage

    async def start_workflow(self, input):
        return await super().start_workflow(_with(input, self.baggage))

    async def signal_workflow(self, input):
        await super().signal_workflow(_with(input, self.baggage))

    async def query_workflow(self, input):
        return await super().query_workflow(_with(input, self.baggage))

    async def start_workflow_update(self, input):
        return await super().start_workflow_update(_with(input, self.baggage))


class InWorker(worker.Interceptor):
    """Shows handlers what came, and gives what a workflow sends the workflow's ID as baggage."""

    def workflow_interceptor_class(self, input):
        return _Inbound


class _Inbound(worker.WorkflowInboundInterceptor):
    def init(self, outbound):
        super().init(_Outbound(outbound))

    async def handle_signal(self, input):
        current.set(_read(input))
        await super().handle_signal(input)

    async def handle_query(self, input):
        current.set(_read(input))
        return await super().handle_query(input)

    def handle_update_validator(self, input):
        current.set(_read(input))
        super().handle_update_validator(input)

    async def handle_update_handler(self, input):
        current.set(_read(input))
        return await super().handle_update_handler(input)


class _Outbound(worker.WorkflowOutboundInterceptor):
    async def signal_child_workflow(self, input):
        await super().signal_child_workflow(_with(input, "from the parent"))

    async def signal_external_workflow(self, input):
        await super().signal_external_workflow(_with(input, "from another workflow"))
