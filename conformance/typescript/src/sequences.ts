/** What happens with updates, step by step, whether the worker has the workflow at hand or replays it for each task. */
import assert from 'node:assert/strict';
import {
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  WorkflowUpdateStage,
} from '@temporalio/client';
import { ApplicationFailure, WorkflowNotFoundError } from '@temporalio/common';
import type { WorkerOptions } from '@temporalio/worker';
import { admitted, ask, client, failure, idle, only, poll, refusal, Stage, types, until, watch, type Rig } from './rig';
import {
  add,
  addByActivity,
  addLast,
  addLater,
  decline,
  items,
  ledger,
  release,
  stumbleOver,
  walkOut,
} from './workflows/ledger';
import { finish } from './workflows/signals';

type Settings = Partial<WorkerOptions>;
const accepted = { waitForStage: WorkflowUpdateStage.ACCEPTED } as const;

export async function startRejected(rig: Rig, worker: Settings = {}): Promise<void> {
  await rig.work(worker);
  const book = await rig.start(ledger, []);
  const update = await book.startUpdate(add, { args: [' '], ...accepted });
  const { cause } = await failure(update.result(), WorkflowUpdateFailedError);
  assert(cause instanceof ApplicationFailure);
  assert.deepEqual([cause.type, cause.message], ['Blank', 'a blank item']);
}

export async function stopWaiting(rig: Rig, worker: Settings = {}): Promise<void> {
  await rig.work(worker);
  const book = await rig.start(ledger, []);
  const late = () => book.executeUpdate(addLater, { args: ['late'], updateId: 'late' });
  await failure(client.withDeadline(Date.now() + 1000, late), WorkflowUpdateRPCTimeoutOrCancelledError);
  const given = new AbortController();
  const up = client.withAbortSignal(given.signal, () => book.executeUpdate(addLater, { args: ['up'], updateId: 'up' }));
  await until('both accepted', async () => (await only(book, 'WorkflowExecutionUpdateAccepted')).length === 2);
  given.abort();
  await failure(up, WorkflowUpdateRPCTimeoutOrCancelledError);
  await book.signal(release, 'late');
  await book.signal(release, 'up');
  assert.equal(await book.getUpdateHandle<number>('late').result(), 1);
  assert.equal(await book.getUpdateHandle<number>('up').result(), 2);
}

export async function fromActivity(rig: Rig, worker: Settings = {}): Promise<void> {
  await rig.work(worker);
  const book = await rig.start(ledger, []);
  assert.deepEqual(await book.executeUpdate(addByActivity, { args: ['inner'] }), ['inner']);
}

export async function failAfterAcceptance(rig: Rig, worker: Settings = {}): Promise<void> {
  await rig.work(worker);
  const book = await rig.start(ledger, []);
  await idle(book);
  const update = book.executeUpdate(decline, { args: ['not today'], updateId: 'd' });
  const { cause } = await failure(update, WorkflowUpdateFailedError);
  assert(cause instanceof ApplicationFailure);
  assert.deepEqual([cause.type, cause.message, cause.details], ['Declined', 'not today', [{ reason: 'not today' }]]);
  assert.deepEqual((await types(book)).slice(-2), [
    '8 WorkflowExecutionUpdateAccepted',
    '9 WorkflowExecutionUpdateCompleted',
  ]);
  const [completed] = await only(book, 'WorkflowExecutionUpdateCompleted');
  assert.equal(completed!.outcome.failure.message, 'not today');
}

export async function stumbleAndHeal(rig: Rig, worker: Settings = {}): Promise<void> {
  const old = await rig.work(worker);
  const book = await rig.start(ledger, [], { workflowTaskTimeout: '2s' });
  await idle(book);
  const update = book.executeUpdate(stumbleOver, { args: ['stone'], updateId: 's' });
  const { failure: reason } = await watch(book, 'WorkflowTaskFailed');
  assert.match(reason.message, /a fault in this revision/);
  await old.stop();
  await rig.work({ ...worker, revision: 2 });
  assert.equal(await update, 1);
  await book.signal(finish);
  assert.deepEqual(await book.result(), ['stone']);
  assert.equal((await only(book, 'WorkflowExecutionUpdateAccepted')).length, 1);
  assert.equal((await only(book, 'WorkflowExecutionUpdateCompleted')).length, 1);
}

async function acceptFirst(rig: Rig, worker: Settings): Promise<void> {
  const book = await rig.start(ledger, []);
  const update = book.executeUpdate(add, { args: ['a'], updateId: 'u' });
  await admitted(book, 'u');
  await rig.work(worker);
  assert.equal(await update, 1);
  assert.deepEqual(await types(book), [
    '1 WorkflowExecutionStarted',
    '2 WorkflowTaskScheduled',
    '3 WorkflowTaskStarted',
    '4 WorkflowTaskCompleted',
    '5 WorkflowExecutionUpdateAccepted',
    '6 WorkflowExecutionUpdateCompleted',
  ]);
  const [event] = await only(book, 'WorkflowExecutionUpdateAccepted');
  assert.deepEqual([event!.protocolInstanceId, Number(event!.acceptedRequestSequencingEventId)], ['u', 2]);
  assert.equal(event!.acceptedRequest.input.name, add.name);
}

async function rejectFirst(rig: Rig, worker: Settings): Promise<void> {
  const book = await rig.start(ledger, []);
  const update = refusal(book.executeUpdate(add, { args: [''], updateId: 'u' }));
  await admitted(book, 'u');
  await rig.work(worker);
  assert.equal(await update, 'a blank item');
  assert.deepEqual((await types(book)).at(-1), '4 WorkflowTaskCompleted');
}

async function acceptIdle(rig: Rig, worker: Settings): Promise<void> {
  await rig.work(worker);
  const book = await rig.start(ledger, []);
  await idle(book);
  assert.equal(await book.executeUpdate(add, { args: ['a'] }), 1);
  assert.deepEqual((await types(book)).slice(4), [
    '5 WorkflowTaskScheduled',
    '6 WorkflowTaskStarted',
    '7 WorkflowTaskCompleted',
    '8 WorkflowExecutionUpdateAccepted',
    '9 WorkflowExecutionUpdateCompleted',
  ]);
  const [event] = await only(book, 'WorkflowExecutionUpdateAccepted');
  assert.equal(Number(event!.acceptedRequestSequencingEventId), 5);
}

async function rejectIdle(rig: Rig, worker: Settings): Promise<void> {
  await rig.work(worker);
  const book = await rig.start(ledger, []);
  await idle(book);
  assert.equal(await refusal(book.executeUpdate(add, { args: [''] })), 'a blank item');
  assert.equal((await types(book)).length, 4);
  await book.signal(release, 'a');
  assert.equal((await types(book))[4], '5 WorkflowExecutionSignaled');
  assert.equal(await book.executeUpdate(addLater, { args: ['a'] }), 1);
}

async function completeLater(rig: Rig, worker: Settings): Promise<void> {
  await rig.work(worker);
  const book = await rig.start(ledger, []);
  await idle(book);
  const update = await book.startUpdate(addLater, { args: ['a'], ...accepted });
  await book.signal(release, 'a');
  assert.equal(await update.result(), 1);
  assert.deepEqual((await types(book)).slice(7), [
    '8 WorkflowExecutionUpdateAccepted',
    '9 WorkflowExecutionSignaled',
    '10 WorkflowTaskScheduled',
    '11 WorkflowTaskStarted',
    '12 WorkflowTaskCompleted',
    '13 WorkflowExecutionUpdateCompleted',
  ]);
  const [event] = await only(book, 'WorkflowExecutionUpdateCompleted');
  assert.equal(Number(event!.acceptedEventId), 8);
}

async function completeInReverse(rig: Rig, worker: Settings): Promise<void> {
  await rig.work(worker);
  const book = await rig.start(ledger, []);
  const first = await book.startUpdate(addLater, { args: ['a'], updateId: 'first', ...accepted });
  const second = await book.startUpdate(addLater, { args: ['b'], updateId: 'second', ...accepted });
  await book.signal(release, 'b');
  assert.equal(await second.result(), 1);
  await book.signal(release, 'a');
  assert.equal(await first.result(), 2);
  const ends = await only(book, 'WorkflowExecutionUpdateCompleted');
  assert.deepEqual(
    ends.map((event) => event.meta.updateId),
    ['second', 'first'],
  );
}

async function acceptOneRejectOther(rig: Rig, worker: Settings): Promise<void> {
  const book = await rig.start(ledger, []);
  const good = book.executeUpdate(add, { args: ['a'], updateId: 'good' });
  const bad = refusal(book.executeUpdate(add, { args: [''], updateId: 'bad' }));
  await admitted(book, 'good');
  await admitted(book, 'bad');
  await rig.work(worker);
  assert.deepEqual([await good, await bad], [1, 'a blank item']);
  const events = await only(book, 'WorkflowExecutionUpdateAccepted');
  assert.deepEqual(
    events.map((event) => event.protocolInstanceId),
    ['good'],
  );
}

async function keepOrder(rig: Rig, worker: Settings): Promise<void> {
  const book = await rig.start(ledger, []);
  const letters = [...'ABCDEFGHIJ'];
  const updates: Promise<number>[] = [];
  for (const letter of letters) {
    updates.push(book.executeUpdate(add, { args: [letter], updateId: letter }));
    await admitted(book, letter);
  }
  await rig.work(worker);
  assert.deepEqual(await Promise.all(updates), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual(await book.query(items), letters);
}

async function waitForStages(rig: Rig, worker: Settings): Promise<void> {
  await rig.work(worker);
  const book = await rig.start(ledger, []);
  const waiting = await ask(book, addLater, ['a'], 'later', Stage.ACCEPTED);
  assert.deepEqual([waiting.stage, waiting.outcome], [Stage.ACCEPTED, null]);
  assert.equal((await poll(book, 'later', Stage.ADMITTED)).stage, Stage.ACCEPTED);
  const atOnce = await ask(book, add, ['b'], 'at-once', Stage.ACCEPTED);
  assert.deepEqual([atOnce.stage, atOnce.outcome?.success != null], [Stage.COMPLETED, true]);
  const rejected = await ask(book, add, [''], 'rejected', Stage.ACCEPTED);
  assert.deepEqual([rejected.stage, rejected.outcome?.failure?.message], [Stage.COMPLETED, 'a blank item']);
  await book.signal(release, 'a');
  const polled = await poll(book, 'later', Stage.COMPLETED);
  assert.deepEqual([polled.stage, polled.outcome?.success != null], [Stage.COMPLETED, true]);
  const abandoned = await ask(book, walkOut, [], 'abandoned', Stage.ACCEPTED);
  const type = abandoned.outcome?.failure?.applicationFailureInfo?.type;
  assert.deepEqual([abandoned.stage, type], [Stage.COMPLETED, 'AcceptedUpdateCompletedWorkflow']);
}

async function repeat(rig: Rig, worker: Settings): Promise<void> {
  await rig.work(worker);
  const book = await rig.start(ledger, []);
  const twins = [0, 1].map(() => book.executeUpdate(addLater, { args: ['a'], updateId: 'twin' }));
  await watch(book, 'WorkflowExecutionUpdateAccepted');
  await book.signal(release, 'a');
  assert.deepEqual(await Promise.all(twins), [1, 1]);
  const before = await types(book);
  assert.equal(await book.executeUpdate(addLater, { args: ['other'], updateId: 'twin' }), 1);
  assert.equal(await book.executeUpdate(add, { args: ['other'], updateId: 'twin' }), 1);
  assert.deepEqual(await types(book), before);
  assert.equal(await refusal(book.executeUpdate(add, { args: [''], updateId: 'again' })), 'a blank item');
  assert.equal(await book.executeUpdate(add, { args: ['b'], updateId: 'again' }), 2);
  await book.signal(finish);
  assert.deepEqual(await book.result(), ['a', 'b']);
  assert.equal(await book.executeUpdate(add, { args: ['c'], updateId: 'twin' }), 1);
  await failure(book.executeUpdate(add, { args: ['c'], updateId: 'fresh' }), WorkflowNotFoundError);
}

async function closeWithUpdate(rig: Rig, worker: Settings): Promise<void> {
  await rig.work(worker);
  const book = await rig.start(ledger, []);
  assert.equal(await book.executeUpdate(addLast, { args: ['last'], updateId: 'last' }), 1);
  assert.deepEqual(await book.result(), ['last']);
  const ends = (await types(book)).slice(-2).map((event) => event.split(' ')[1]);
  assert.deepEqual(ends, ['WorkflowExecutionUpdateCompleted', 'WorkflowExecutionCompleted']);
  assert.equal(await book.getUpdateHandle<number>('last').result(), 1);
}

async function pollUnknown(rig: Rig, worker: Settings): Promise<void> {
  await rig.work(worker);
  const book = await rig.start(ledger, []);
  await refusal(book.executeUpdate(add, { args: [''], updateId: 'rejected' }));
  for (const id of ['rejected', 'never']) {
    const lost = await failure(book.getUpdateHandle(id).result(), WorkflowNotFoundError);
    assert.match(lost.message, new RegExp(`update "${id}" not found`));
  }
}

/** All of the above, by what they show. */
export const sequences: [title: string, run: (rig: Rig, worker: Settings) => Promise<void>][] = [
  ['accepted and completed in the first task', acceptFirst],
  ['rejected in the first task, which stays', rejectFirst],
  ['accepted and completed in a task of its own', acceptIdle],
  ['rejected in a task of its own, which leaves nothing', rejectIdle],
  ['accepted in one task, completed in a later one', completeLater],
  ['two of them, completed in reverse order', completeInReverse],
  ['one accepted and one rejected in the same task', acceptOneRejectOther],
  ['ten of them arrive in the order they were admitted', keepOrder],
  ['waiting for stages, and polling', waitForStages],
  ['the same ID again gets the first outcome, but for rejections', repeat],
  ['completed in the task that closes the workflow', closeWithUpdate],
  ['polling for rejected and unknown ones', pollUnknown],
  ['starting one that is rejected', startRejected],
  ['a client that stops waiting', stopWaiting],
  ['an activity that updates its workflow', fromActivity],
  ['failed after acceptance', failAfterAcceptance],
  ['its task fails until the code is mended', stumbleAndHeal],
];
