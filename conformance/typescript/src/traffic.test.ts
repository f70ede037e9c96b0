import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  WorkflowFailedError,
  WorkflowUpdateFailedError,
  WorkflowUpdateStage,
  type WorkflowHandle,
} from '@temporalio/client';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { admitted, client, failure, idle, only, patientClient, proof, refusal, types, until, type Rig } from './rig';
import { addLater, items, leave, ledger, release } from './workflows/ledger';
import { finish } from './workflows/signals';
import { crossing, handled, lateRiser, tick, tock, turnstile } from './workflows/traffic';

const accepted = { waitForStage: WorkflowUpdateStage.ACCEPTED } as const;

/** How long the largest crowds may take, on a machine that has much else to do. */
const CROWD_LIMIT_MS = 300_000;

/** The numbers below n as names that begin with a letter. */
const names = (letter: string, n: number) => Array.from({ length: n }, (_, i) => `${letter}${i}`);

/** Does all of the work, so many at a time. */
async function pooled<T>(work: T[], width: number, each: (item: T) => Promise<unknown>): Promise<void> {
  const todo = work.values();
  await Promise.all(Array.from({ length: width }, async () => {
    for (const item of todo) await each(item);
  }));
}

/** Starts a worker as a process, and comes back when it works. Whoever does so kills it. */
async function spawnWorker(rig: Rig): Promise<ChildProcess> {
  const program = [join(__dirname, 'killable.js'), rig.queue];
  const child = spawn(process.execPath, program, { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise<void>((resolve, reject) => {
    child.stdout!.once('data', () => resolve());
    child.once('exit', (code) => reject(new Error(`the worker ended with ${code}`)));
  });
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

/** Ends a crossing and returns what it handled; everything has to be there once. */
async function expectAll(road: WorkflowHandle<typeof crossing>, want: string[]): Promise<string[]> {
  const result = await road.result();
  assert.deepEqual([...result.handled].sort(), [...want].sort());
  return result.handled;
}

export function traffic(): void {
  test('signal and update handlers that call activities run side by side and lose nothing', proof(async (rig) => {
    await rig.work();
    const road = await rig.start(crossing, [0, true]);
    const [signals, updates] = [names('s', 30), names('u', 30)];
    const answers: string[] = [];
    await Promise.all([
      pooled(signals, 5, (name) => road.signal(tick, name)),
      pooled(updates, 5, async (name) => void answers.push(await road.executeUpdate(tock, { args: [name] }))),
    ]);
    await road.signal(finish);
    await expectAll(road, [...signals, ...updates]);
    assert.deepEqual(answers.sort(), updates.map((name) => `${name} in run 1`).sort());
    assert.equal((await only(road, 'ActivityTaskCompleted')).length, 60);
  }));

  test('validators turn away what they should in traffic, and nothing of it is in the history', proof(async (rig) => {
    await rig.work();
    const road = await rig.start(crossing, [0, false]);
    const [good, bad] = [names('u', 40), names('!', 40)];
    await Promise.all([
      pooled(good, 4, (name) => road.executeUpdate(tock, { args: [name] })),
      pooled(bad, 4, async (name) => {
        assert.equal(await refusal(road.executeUpdate(tock, { args: [name] })), `${name} is turned away`);
      }),
      pooled(names('s', 20), 2, (name) => road.signal(tick, name)),
    ]);
    await road.signal(finish);
    await expectAll(road, [...good, ...names('s', 20)]);
    assert.equal((await only(road, 'WorkflowExecutionUpdateAccepted')).length, good.length);
  }));

  test('an update that is busy when its workflow ends has failed, also for those who ask later', proof(async (rig) => {
    await rig.work();
    const book = await rig.start(ledger, []);
    const update = await book.startUpdate(addLater, { args: ['a'], ...accepted });
    const waiting = failure(update.result(), WorkflowUpdateFailedError);
    await book.signal(leave);
    assert.deepEqual(await book.result(), []);
    const asking = failure(book.getUpdateHandle(update.updateId).result(), WorkflowUpdateFailedError);
    for (const { cause } of [await waiting, await asking]) {
      assert(cause instanceof ApplicationFailure);
      assert.equal(cause.type, 'AcceptedUpdateCompletedWorkflow');
    }
    assert.deepEqual(await only(book, 'WorkflowExecutionUpdateCompleted'), []);
  }));

  test('a workflow that continues as new again and again handles every message in flight once', proof(async (rig) => {
    await rig.work();
    const road = await rig.start(crossing, [5, true]);
    const now = client.workflow.getHandle<typeof crossing>(road.workflowId); // whichever run that is
    const [signals, updates] = [names('s', 60), names('u', 60)];
    // A run ends when it has had enough and nobody is on the way. After each wave there is such a moment; the first of
    // the next wave meet it.
    for (let sent = 0; sent < 60; sent += 15) {
      await Promise.all([
        pooled(signals.slice(sent, sent + 15), 3, (name) => now.signal(tick, name)),
        pooled(updates.slice(sent, sent + 15), 3, (name) => now.executeUpdate(tock, { args: [name] })),
      ]);
      const count = () => client.withDeadline(Date.now() + 10_000, () => now.query(handled));
      await until('the wave is over', async () => (await count()) === 2 * (sent + 15));
    }
    await now.signal(finish);
    await expectAll(road, [...signals, ...updates]);
    const { runs } = await road.result();
    assert(runs > 4, `${runs} runs`);
  }));

  test('M243 an update completes on the next worker when the one that accepted it is killed', proof(async (rig) => {
    const first = await spawnWorker(rig);
    let update;
    const book = await rig.start(ledger, []);
    try {
      update = await book.startUpdate(addLater, { args: ['a'], ...accepted });
    } finally {
      await kill(first);
    }
    await rig.work();
    await book.signal(release, 'a');
    assert.equal(await update.result(), 1);
    assert.deepEqual(await book.query(items), ['a']);
    assert.equal((await only(book, 'WorkflowExecutionUpdateAccepted')).length, 1);
  }));

  test('workers that are killed in the middle of traffic lose nothing of it', proof(async (rig) => {
    const road = await rig.start(crossing, [0, false], { workflowTaskTimeout: '1s' });
    const [signals, updates] = [names('s', 60), names('u', 60)];
    let under: ChildProcess | undefined = await spawnWorker(rig);
    const sent = Promise.all([
      pooled(signals, 2, (name) => road.signal(tick, name)),
      pooled(updates, 4, (name) => road.executeUpdate(tock, { args: [name], updateId: name })),
    ]);
    try {
      await until('some done', async () => (await only(road, 'WorkflowExecutionUpdateCompleted')).length > 10);
    } finally {
      await kill(under);
    }
    await rig.work();
    await sent;
    await road.signal(finish);
    await expectAll(road, [...signals, ...updates]);
  }));

  test('messages of all kinds that come before the first task are all handled in it', proof(async (rig) => {
    const options = rig.options<typeof lateRiser>([]);
    const sleeper = await client.workflow.signalWithStart(lateRiser, { ...options, signal: tick, signalArgs: ['a'] });
    rig.note(sleeper.workflowId, sleeper.signaledRunId);
    await sleeper.signal(tick, 'b');
    const updates = ['c', '!d'].map((name) => sleeper.executeUpdate(tock, { args: [name], updateId: name }));
    const rejected = refusal(updates[1]!);
    await admitted(sleeper, 'c');
    await admitted(sleeper, '!d');
    const withStart = client.workflow.executeUpdateWithStart(tock, {
      args: ['e'],
      updateId: 'e',
      startWorkflowOperation: rig.startOperation(lateRiser, [], { workflowId: sleeper.workflowId }),
    });
    await admitted(sleeper, 'e');
    const query = sleeper.query(handled);
    const cancelled = await rig.start(ledger, []);
    await cancelled.cancel();
    await rig.work();
    assert.equal(await rejected, '!d is turned away');
    assert.deepEqual((await Promise.all([updates[0], withStart])).length, 2);
    assert.equal(await query, 5);
    assert.deepEqual((await only(sleeper, 'WorkflowTaskStarted')).length, 1);
    await sleeper.cancel();
    const order = ['signal a', 'signal b', 'update c', 'update e', 'main of run 1', 'cancelled: true'];
    assert.deepEqual(await sleeper.result(), order);

    const { cause } = await failure(cancelled.result(), WorkflowFailedError);
    assert(cause instanceof CancelledFailure);
    assert.deepEqual((await types(cancelled)).slice(0, 4).map((event) => event.split(' ')[1]), [
      'WorkflowExecutionStarted',
      'WorkflowTaskScheduled',
      'WorkflowExecutionCancelRequested',
      'WorkflowTaskStarted',
    ]);
  }));

  test('a thousand updates at once on one workflow are all done once', proof(async (rig) => {
    await rig.work({ debugMode: false }); // in a thread: there is enough to do for both
    const road = await rig.start(crossing, [0, false]);
    await idle(road);
    const updates = names('u', 1000);
    const patient = await patientClient();
    const asking = patient.workflow.getHandle(road.workflowId);
    const answers = await Promise.all(updates.map((name) => asking.executeUpdate(tock, { args: [name] })));
    assert.deepEqual(answers, updates.map((name) => `${name} in run 1`));
    await road.signal(finish);
    await expectAll(road, updates);
  }, CROWD_LIMIT_MS));

  test('ten thousand signals to one workflow are all handled, in the order of its history', proof(async (rig) => {
    await rig.work({ debugMode: false }); // in a thread: there is enough to do for both
    const road = await rig.start(turnstile, []);
    const signals = names('s', 9_999);
    // The server lets a hundred events wait for a workflow task. More would interrupt it, time and again, and the
    // worker would replay everything each time.
    for (let sent = 0; sent < signals.length; sent += 100) {
      await pooled(signals.slice(sent, sent + 100), 20, (name) => road.signal(tick, name));
      assert.equal(await road.query(handled), Math.min(sent + 100, signals.length));
    }
    await road.signal(finish); // the ten thousandth, and no more are allowed
    const order = await road.result();
    assert.deepEqual([...order].sort(), [...signals].sort());
    const events = await only(road, 'WorkflowExecutionSignaled');
    assert.equal(events.length, 10_000);
    const text = (event: Record<string, any>) => JSON.parse(Buffer.from(event.input.payloads[0].data).toString());
    const arrived = events.slice(0, -1).map(text);
    assert.deepEqual(order, arrived);
  }, CROWD_LIMIT_MS));
}
