"""Workers that stop, or are killed, with an update half done."""

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio import activity

from rig import QUICK, attributes, of_kind, one
from victim import Resilient


@activity.defn(name="work")
async def work() -> None:
    pass


@asynccontextmanager
async def victim(rig):
    """A worker in another process, that is killed in the end at the latest."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("victim.py")),
        os.environ["PERDURE_ADDRESS"],
        rig.task_queue,
        str(rig.cached_workflows),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        await says(process, "ready")
        yield process
    finally:
        await kill(process)


async def says(process, what: str) -> None:
    """Waits for a line of what process says. The SDK's own log lines are among them."""
    while True:
        line = await process.stdout.readline()
        assert line, f"the worker ended before it said {what}"
        if line.decode().strip() == what:
            return


async def kill(process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def _finish(rig, handle, update) -> list:
    """Lets a new worker finish the update, and returns the run's events."""
    async with rig.worker(Resilient, activities=[work]):
        assert await update == 1
        await handle.signal(Resilient.close)
        assert await handle.result() == ["done"]
    events = await rig.events(handle)
    accepted = one(events, "workflow_execution_update_accepted")
    completed = attributes(one(events, "workflow_execution_update_completed"))
    assert completed.accepted_event_id == accepted.event_id
    return events


async def test_m243_an_update_that_one_worker_accepted_completes_on_another(rig):
    async with rig.worker(Resilient, activities=[work]):
        handle = await rig.start(Resilient.run)
        update = await rig.accepted(handle, Resilient.wait_for_signal, "done")
    await handle.signal(Resilient.proceed)
    await _finish(rig, handle, update.result())


async def test_an_update_survives_the_worker_killed_after_it_accepted(rig):
    async with victim(rig) as process:
        handle = await rig.start(Resilient.run, task_timeout=QUICK)
        update = await rig.accepted(handle, Resilient.wait_for_signal, "done")
        await kill(process)
    await handle.signal(Resilient.proceed)
    await _finish(rig, handle, update.result())


async def test_an_update_survives_the_worker_killed_in_its_activity(rig):
    async with victim(rig) as process:
        handle = await rig.start(Resilient.run, task_timeout=QUICK)
        update = await rig.accepted(handle, Resilient.wait_for_activity, "done")
        await says(process, "busy")
        await kill(process)
    events = await _finish(rig, handle, update.result())
    started = attributes(one(events, "activity_task_started"))
    assert started.attempt == 2


async def test_an_update_survives_the_worker_killed_before_its_acceptance_was_told(rig):
    async with victim(rig) as process:
        handle = await rig.start(Resilient.run, task_timeout=QUICK)
        await rig.seen(handle, "workflow_task_completed")
        update = await rig.admit(handle, Resilient.wait_for_local_activity, "done", id="u")
        await says(process, "busy")
        assert not of_kind(await rig.events(handle), "workflow_execution_update_accepted")
        await kill(process)
    events = await _finish(rig, handle, update)
    assert of_kind(events, "workflow_task_timed_out")
