import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import {
  Client,
  Connection,
  WithStartWorkflowOperation,
  WorkflowUpdateFailedError,
  WorkflowUpdateStage,
  type WorkflowHandle,
} from '@temporalio/client';
import { ApplicationFailure, WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from '@temporalio/common';
import type { WorkerOptions } from '@temporalio/worker';
import { admitted, client, failure, idle, NAMESPACE, only, proof, refusal, Stage, types, watch } from './rig';
import { failAfterAcceptance, fromActivity, sequences, startRejected, stopWaiting, stumbleAndHeal } from './sequences';
import {
  add,
  addLater,
  addParts,
  addStrictly,
  born,
  items,
  leave,
  ledger,
  release,
  stumbleOver,
} from './workflows/ledger';
import { finish } from './workflows/signals';

const accepted = { waitForStage: WorkflowUpdateStage.ACCEPTED } as const;

export function updates(): void {
  test('M146 starting a rejected update gives a handle that has the error of the validator', proof(startRejected));

  test('M147 a client that stops waiting hears so; the update goes on, to be had by its ID', proof(stopWaiting));

  test('M148 an activity can update its own workflow, which sees the effect at its result', proof(fromActivity));

  test('M181 when terminated or timed out accepted updates fail, admitted ones are not found', proof(async (rig) => {
    const ends = {
      terminate: (id: string) => client.workflow.getHandle(id).terminate(),
      'time out': (id: string) => failure(client.workflow.getHandle(id).result()),
    };
    const each = (body: (book: WorkflowHandle, end: () => Promise<unknown>) => Promise<void>) =>
      Promise.all(Object.entries(ends).map(async ([how, end]) => {
        const book = await rig.start(ledger, [], how === 'time out' ? { workflowRunTimeout: '4s' } : {});
        await body(book, () => end(book.workflowId));
      }));

    // There is no worker until these have ended.
    await each(async (book, end) => {
      const lost = failure(book.executeUpdate(add, { args: ['a'], updateId: 'a' }), WorkflowNotFoundError);
      await admitted(book, 'a');
      await end();
      assert.match((await lost).message, /aborted by closing workflow/);
    });
    await rig.work();
    await each(async (book, end) => {
      const update = await book.startUpdate(addLater, { args: ['b'], updateId: 'b', ...accepted });
      await end();
      const { cause } = await failure(update.result(), WorkflowUpdateFailedError);
      assert(cause instanceof ApplicationFailure);
      assert.equal(cause.type, 'AcceptedUpdateCompletedWorkflow');
    });
  }));

  test('M204 update-with-start wants a policy and a fresh start operation before it calls', proof(async (rig) => {
    // The compiler refuses an operation without a policy.
    // @ts-expect-error Property 'workflowIdConflictPolicy' is missing
    new WithStartWorkflowOperation(ledger, { taskQueue: rig.queue, workflowId: rig.id('never'), args: [] });

    const nowhere = new Client({ connection: Connection.lazy({ address: '127.0.0.1:1' }) });
    const startWorkflowOperation = rig.startOperation(ledger, []);
    const options = { args: ['a'] as [string], startWorkflowOperation };
    const first = nowhere.withDeadline(Date.now() + 10, () => nowhere.workflow.executeUpdateWithStart(add, options));
    await failure(first); // it did call
    const again = await failure(nowhere.workflow.executeUpdateWithStart(add, options));
    assert.match(again.message, /already been executed/);
  }));

  test('M205 update-with-start says already started as such, and so does the start operation', proof(async (rig) => {
    const book = await rig.start(ledger, []);
    const startWorkflowOperation = rig.startOperation(ledger, [], {
      workflowId: book.workflowId,
      workflowIdConflictPolicy: 'FAIL',
    });
    const update = client.workflow.executeUpdateWithStart(add, { args: ['a'], startWorkflowOperation });
    const raised = await failure(update, WorkflowExecutionAlreadyStartedError);
    const carried = await failure(startWorkflowOperation.workflowHandle(), WorkflowExecutionAlreadyStartedError);
    assert.equal(carried, raised);
    assert.equal(raised.workflowId, book.workflowId);
  }));

  test('M226 validators are not run on replay, but again when their task is retried', proof(async (rig) => {
    const old = await rig.work();
    const book = await rig.start(ledger, []);
    assert.equal(await book.executeUpdate(addStrictly, { args: ['far too long'] }), 1);
    const other = await rig.start(ledger, [], { workflowTaskTimeout: '2s' });
    await idle(other);
    const objection = refusal(other.executeUpdate(stumbleOver, { args: ['stone'] }));
    await watch(other, 'WorkflowTaskFailed'); // after the validator had nothing against it

    await old.stop();
    await rig.work({ revision: 3 }); // stricter everywhere
    assert.deepEqual(await book.query(items), ['far too long']);
    assert.equal(await refusal(book.executeUpdate(addStrictly, { args: ['also long'] })), 'also long is too long');
    assert.equal(await book.executeUpdate(addStrictly, { args: ['ok'] }), 2);
    await book.signal(finish);
    assert.deepEqual(await book.result(), ['far too long', 'ok']);
    assert.deepEqual(await only(book, 'WorkflowTaskFailed'), []);

    assert.equal(await objection, 'stone is in the way');
    assert.deepEqual(await only(other, 'WorkflowExecutionUpdateAccepted'), []);
  }));

  test('M227 what a validator does to the argument is not seen by the handler', proof(async (rig) => {
    await rig.work();
    const book = await rig.start(ledger, []);
    assert.equal(await book.executeUpdate(addParts, { args: [{ parts: ['a', 'b'] }] }), 2);
    assert.deepEqual(await book.query(items), ['a', 'b']);
  }));

  test('M229 an update whose arguments cannot be decoded is rejected, and no handler sees it', proof(async (rig) => {
    await rig.work();
    const book = await rig.start(ledger, []);
    await idle(book);
    const before = await types(book);
    const garbage = { metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from('{"half') };
    const { outcome } = await client.workflowService.updateWorkflowExecution({
      namespace: NAMESPACE,
      workflowExecution: { workflowId: book.workflowId },
      waitPolicy: { lifecycleStage: Stage.COMPLETED },
      request: { meta: { updateId: 'garbage' }, input: { name: add.name, args: { payloads: [garbage] } } },
    });
    assert.match(outcome?.failure?.message ?? '', /JSON/);
    assert.deepEqual(await book.query(items), []);
    assert.deepEqual(await types(book), before);
  }));

  test('M230 a failing handler leaves Accepted and Completed, the caller gets its error', proof(failAfterAcceptance));

  test('M231 other errors fail the task until the code is mended; the update completes once', proof(stumbleAndHeal));

  test('M242 after a vanished speculative task the cached workflow goes on, event IDs too', proof(async (rig) => {
    await rig.work();
    const book = await rig.start(ledger, []);
    const bornAt = await book.query(born);
    const idleAt = (await idle(book)).length;
    for (const blank of ['', ' ', '  ']) {
      assert.equal(await refusal(book.executeUpdate(add, { args: [blank] })), 'a blank item');
      assert.equal((await types(book)).length, idleAt);
    }
    assert.equal(await book.executeUpdate(add, { args: ['a'] }), 1);
    assert.equal(await refusal(book.executeUpdate(add, { args: [''] })), 'a blank item');
    await book.signal(release, 'unused');
    assert.equal(await book.executeUpdate(add, { args: ['b'] }), 2);
    assert.equal(await book.query(born), bornAt);
    await book.signal(leave);
    assert.deepEqual(await book.result(), ['a', 'b']);
    assert.deepEqual(await only(book, 'WorkflowTaskFailed'), []);
    assert.equal((await types(book))[idleAt], `${idleAt + 1} WorkflowTaskScheduled`);
  }));

  // What the worker has to know for these it knows by itself, or by the history.
  const shown = (settings: Partial<WorkerOptions>) => async (t: TestContext) => {
    await Promise.all(sequences.map(([title, run]) => t.test(title, proof((rig) => run(rig, settings)))));
  };

  test('updates go their way on a cached workflow', { concurrency: 4 }, shown({}));

  test('M244 with no workflow cached, updates go the same way', { concurrency: 4 }, shown({ maxCachedWorkflows: 0 }));

  test('a worker that caches no workflow makes it anew for each task', proof(async (rig) => {
    await rig.work({ maxCachedWorkflows: 0 });
    const book = await rig.start(ledger, []);
    assert.notEqual(await book.query(born), await book.query(born));
  }));
}
