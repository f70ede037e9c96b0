"""How tests run: one event loop, one connection, a limit of time, and a look at every history that a test leaves."""

import asyncio
import inspect
import os
import sys

import pytest
from temporalio.client import Client

from rig import Rig

LIMIT = 60.0  # seconds that a test may take
READY = 30.0  # seconds that the server may take to answer
CACHES = {"cached": 1000, "uncached": 0}

runner = asyncio.Runner()


def pytest_generate_tests(metafunc):
    """Every test with a rig runs twice: with workflows in the worker's cache, and with none, when each workflow task
    replays its run from the first event on."""
    if "rig" in metafunc.fixturenames:
        only_cached = metafunc.definition.get_closest_marker("one_cache")
        names = ["cached"] if only_cached else list(CACHES)
        metafunc.parametrize("rig", names, indirect=True)


@pytest.fixture(scope="session")
def connection():
    address = os.environ.get("PERDURE_ADDRESS")
    if not address:
        pytest.exit("PERDURE_ADDRESS is not set; run.sh starts a server and sets it", returncode=70)
    try:
        return runner.run(connect(address))
    except TimeoutError:
        pytest.exit(f"nobody serves gRPC at {address}", returncode=70)


async def connect(address: str) -> Client:
    async with asyncio.timeout(READY):
        while True:
            try:
                return await Client.connect(address)
            except RuntimeError:  # not listening yet
                await asyncio.sleep(0.05)


@pytest.fixture
def rig(request, connection):
    made = Rig(connection, request.node.originalname, CACHES[request.param])
    yield made
    runner.run(made.clear())


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    runner.run(whole_test(pyfuncitem, arguments))
    return True


async def whole_test(item, arguments) -> None:
    marker = item.get_closest_marker("limit")
    async with asyncio.timeout(marker.args[0] if marker else LIMIT):
        await item.obj(**arguments)
        rig = arguments.get("rig")
        if rig:
            await rig.judge(replay=item.get_closest_marker("not_replayed") is None)


class Ending:
    """Ends the process without tearing the interpreter down: the SDK's native threads may crash an interpreter that is
    being torn down, after all went well. https://github.com/temporalio/sdk-python/issues/300"""

    status: int | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session, exitstatus):
        self.status = int(exitstatus)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self):
        if self.status is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self.status)


def pytest_configure(config):
    config.pluginmanager.register(Ending(), "ending")
