import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure, defaultPayloadConverter } from '@temporalio/common';
import { client, events, idle, interceptedClient, proof, types, until, watch } from './rig';
import { BAGGAGE } from './workflows/headers';
import {
  deaf,
  fail,
  finish,
  frail,
  ignore,
  listen,
  log,
  note,
  notebook,
  parcel,
  porter,
  stumble,
} from './workflows/signals';

/** Sends signals by name, one after the other. */
async function send(handle: WorkflowHandle, ...signals: [name: string, text: string][]): Promise<void> {
  for (const [name, text] of signals) await handle.signal(name, text);
}

export function signals(): void {
  test('M022 signals start their handlers in the order sent, also across workflow tasks', proof(async (rig) => {
    const book = await rig.start(notebook, []);
    await send(book, ['note', 'a'], ['note', 'b']);
    await rig.work();
    await until('both noted', async () => (await book.query(log)).includes('end b'));
    await send(book, ['note', 'c']);
    await until('the third noted', async () => (await book.query(log)).includes('end c'));
    await send(book, ['note', 'd'], ['note', 'e']);
    await book.signal(finish);
    const begun = (await book.result()).filter((line) => line.startsWith('begin'));
    assert.deepEqual(begun, ['begin a', 'begin b', 'begin c', 'begin d', 'begin e']);
  }));

  test('M023 a signal sent before there is a worker is handled before the first step of main', proof(async (rig) => {
    const book = await rig.start(notebook, []);
    await book.signal(note, 'early');
    assert.deepEqual(await types(book), [
      '1 WorkflowExecutionStarted',
      '2 WorkflowTaskScheduled',
      '3 WorkflowExecutionSignaled',
    ]);
    await rig.work();
    await book.signal(finish);
    assert.deepEqual(await book.result(), ['begin early', 'main', 'end early']);
  }));

  test('M024 signals without a handler are kept, and a later one gets those of its name', proof(async (rig) => {
    const ear = await rig.start(deaf, []);
    await rig.work();
    await send(ear, ['x', '1'], ['y', '1'], ['x', '2'], ['y', '2']);
    assert.deepEqual(await ear.executeUpdate(listen, { args: ['x'] }), ['1 x 1', '1 x 2']);
    await send(ear, ['x', '3']);
    assert.deepEqual(await ear.query(log), ['1 x 1', '1 x 2', '1 x 3']);
    const all = await ear.executeUpdate(listen, { args: ['y'] });
    assert.deepEqual(all, ['1 x 1', '1 x 2', '1 x 3', '2 y 1', '2 y 2']);
  }));

  test('M025 a default signal handler gets all kept signals in the order they came', proof(async (rig) => {
    const ear = await rig.start(deaf, []);
    await rig.work();
    await send(ear, ['x', '1'], ['y', '1'], ['x', '2'], ['z', '1']);
    await idle(ear);
    assert.deepEqual(await ear.executeUpdate(listen, { args: [''] }), ['1 x 1', '1 y 1', '1 x 2', '1 z 1']);
  }));

  test('M027 the arguments of a signal arrive all and in order', proof(async (rig) => {
    const book = await rig.start(notebook, []);
    await rig.work();
    await idle(book);
    await book.signal(parcel, 3, 'three', { to: 'Ada', weights: [1, 2.5] });
    await book.signal(finish);
    assert.deepEqual(await book.result(), ['main', '[3,"three",{"to":"Ada","weights":[1,2.5]}]']);
  }));

  test('M028 a failure in a signal handler fails the workflow, other errors heal when mended', proof(async (rig) => {
    const old = await rig.work();
    const failing = await rig.start(frail, []);
    await failing.signal(fail, 'no more');
    await assert.rejects(failing.result(), (err) => {
      assert(err instanceof WorkflowFailedError && err.cause instanceof ApplicationFailure);
      assert.deepEqual([err.cause.message, err.cause.type, err.cause.details], ['no more', 'Frail', ['a detail']]);
      return true;
    });

    const stumbling = await rig.start(frail, [], { workflowTaskTimeout: '1s' });
    await stumbling.signal(stumble);
    const failed = await watch(stumbling, 'WorkflowTaskFailed');
    assert.match(failed.failure.message, /a fault in this revision/);
    assert.equal((await stumbling.describe()).status.name, 'RUNNING');
    await old.stop();
    await rig.work({ revision: 2 });
    assert.equal(await stumbling.result(), 'healed');
  }));

  test('M029 a header that a client interceptor sets reaches the interceptor of the signal', proof(async (rig) => {
    const tagging = interceptedClient({
      signal: (input, next) => {
        const headers = { ...input.headers, [BAGGAGE]: defaultPayloadConverter.toPayload('a trunk') };
        return next({ ...input, headers });
      },
    });
    const bearer = await rig.start(porter, [1]);
    await rig.work();
    await tagging.workflow.getHandle(bearer.workflowId).signal(note, 'heavy');
    assert.deepEqual(await bearer.result(), ['signal note: a trunk']);
  }));

  test('M043 signal-with-start: the handler runs before main, the handle knows the run', proof(async (rig) => {
    const options = rig.options<typeof notebook>([]);
    const first = await client.workflow.signalWithStart(notebook, { ...options, signal: note, signalArgs: ['first'] });
    rig.note(first.workflowId, first.signaledRunId);
    await rig.work();
    await idle(first);
    const again = { ...options, signal: note, signalArgs: ['second'] as [string] };
    const second = await client.workflow.signalWithStart(notebook, again);
    assert.equal(second.signaledRunId, first.signaledRunId);
    await first.signal(finish);
    const lines = await client.workflow.getHandle<typeof notebook>(first.workflowId, first.signaledRunId).result();
    assert.deepEqual(lines.slice(0, 2), ['begin first', 'main']);
    assert(lines.includes('begin second'), lines.join());
  }));

  test('M233 without their handler signals are kept again, and the next one gets them', proof(async (rig) => {
    const ear = await rig.start(deaf, []);
    await rig.work();
    await ear.executeUpdate(listen, { args: ['x'] });
    await send(ear, ['x', '1']);
    await ear.executeUpdate(ignore, { args: ['x'] });
    await send(ear, ['x', '2'], ['x', '3']);
    await idle(ear);
    assert.deepEqual(await ear.query(log), ['1 x 1']);
    assert.deepEqual(await ear.executeUpdate(listen, { args: ['x'] }), ['1 x 1', '2 x 2', '2 x 3']);
    await ear.signal(finish);
    assert.deepEqual(await ear.result(), ['1 x 1', '2 x 2', '2 x 3']);
    assert.equal((await events(ear)).filter((event) => event.workflowTaskFailedEventAttributes).length, 0);
  }));
}
