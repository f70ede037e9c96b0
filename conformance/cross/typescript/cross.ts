/**
 * The TypeScript side of the cross-language test: a worker for the workflow Basket, and a client that tells its story
 * against a worker in whatever language. Both know of each other the names on the wire and nothing else.
 *
 *     node cross.js worker TASK-QUEUE        says "working" and works until it is asked to end
 *     node cross.js client TASK-QUEUE        prints what happened, a line a step
 *
 * The server is at PERDURE_ADDRESS (default localhost:7233).
 */
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import {
  Client,
  Connection,
  QueryNotRegisteredError,
  WithStartWorkflowOperation,
  WorkflowFailedError,
  WorkflowUpdateFailedError,
  WorkflowUpdateStage,
  type WorkflowHandle,
} from '@temporalio/client';
import {
  ApplicationFailure,
  CancelledFailure,
  TerminatedFailure,
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
} from '@temporalio/common';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';

const STORY_LIMIT_MS = 60_000;
const address = process.env.PERDURE_ADDRESS || 'localhost:7233';

/** A value as JSON with sorted keys. Nothing is null, as it is for everybody else. */
function plain(value: unknown): string {
  const sorted = (_key: string, v: unknown) =>
    v !== null && typeof v === 'object' && !Array.isArray(v) ? Object.fromEntries(Object.entries(v).sort()) : v;
  return JSON.stringify(value ?? null, sorted);
}

/** Names a failure as all languages do: type, message and details. */
function reason(failed: unknown): string {
  if (!(failed instanceof ApplicationFailure)) return `no application failure: ${failed}`;
  return [failed.type, failed.message, ...(failed.details ?? []).map(plain)].join(', ');
}

const same = (runId?: string, other?: string) => (runId === other ? 'same run' : 'another run');

/** The answer to an update, or why there is none. */
async function refusal(update: Promise<unknown>): Promise<unknown> {
  try {
    return await update;
  } catch (err) {
    if (err instanceof WorkflowUpdateFailedError) return `refused, ${reason(err.cause)}`;
    throw err;
  }
}

/** What a workflow ended with. */
async function failure(handle: WorkflowHandle): Promise<unknown> {
  try {
    return `no failure but ${plain(await handle.result())}`;
  } catch (err) {
    if (err instanceof WorkflowFailedError) return err.cause;
    throw err;
  }
}

/** Whether a promise ends with an error of a kind; it may end well, but in no other way. */
async function ends(promise: Promise<unknown>, kind: new (...args: any[]) => Error): Promise<boolean> {
  try {
    await promise;
    return false;
  } catch (err) {
    if (err instanceof kind) return true;
    throw err;
  }
}

/** What a client can do with baskets, in the same steps and words as the other languages. */
class Story {
  private readonly prefix = `cross-typescript-${randomUUID()}/`;
  private steps = 0;

  constructor(
    private readonly client: Client,
    private readonly queue: string,
  ) {}

  private step(title: string, outcome: unknown): void {
    const text = typeof outcome === 'string' ? outcome : plain(outcome);
    console.log(`${String(++this.steps).padStart(2)} ${title}: ${text}`);
  }

  private options(part: string, owner: string) {
    return {
      workflowId: this.prefix + part,
      taskQueue: this.queue,
      workflowExecutionTimeout: STORY_LIMIT_MS,
      args: [{ owner }] as [unknown],
    };
  }

  private handle(part: string): WorkflowHandle {
    return this.client.workflow.getHandle(this.prefix + part);
  }

  /** The answer, or why there is none. */
  private async query(part: string, name: string, ...args: unknown[]): Promise<unknown> {
    try {
      return await this.handle(part).query(name, ...args);
    } catch (err) {
      if (err instanceof QueryNotRegisteredError) return `failed, ${err.message}`;
      if (err instanceof WorkflowNotFoundError) return 'not found';
      throw err;
    }
  }

  private update(part: string, name: string, ...args: [unknown, ...unknown[]] | []): Promise<unknown> {
    return refusal(this.handle(part).executeUpdate<unknown, any>(name, { args }));
  }

  /** Waits for so many lines and returns the last. */
  private async lastLine(part: string, count: number): Promise<string> {
    const lines = (await this.update(part, 'wait_for_lines', count)) as string[];
    return lines.length === count ? lines[count - 1]! : `${count} lines expected: ${lines}`;
  }

  /** The update's outcome and the run it went to. */
  private async updateWithStart(part: string, name: string, ...args: unknown[]): Promise<[unknown, string?]> {
    const startWorkflowOperation = new WithStartWorkflowOperation('Basket', {
      ...this.options(part, 'Joan'),
      workflowIdConflictPolicy: 'USE_EXISTING',
    });
    const update = await this.client.workflow.startUpdateWithStart(name, {
      args,
      startWorkflowOperation,
      waitForStage: WorkflowUpdateStage.ACCEPTED,
    });
    return [await refusal(update.result()), update.workflowRunId];
  }

  /** Counts signals, accepted updates and completed updates in a history. */
  private async counted(part: string): Promise<number[]> {
    const events = (await this.handle(part).fetchHistory()).events ?? [];
    return [
      events.filter((event) => event.workflowExecutionSignaledEventAttributes).length,
      events.filter((event) => event.workflowExecutionUpdateAcceptedEventAttributes).length,
      events.filter((event) => event.workflowExecutionUpdateCompletedEventAttributes).length,
    ];
  }

  async tell(): Promise<void> {
    const run = await this.client.workflow.start('Basket', this.options('a', 'Ada'));
    await this.signals();
    await this.queries();
    await this.updates();
    await this.withStart(run.firstExecutionRunId);
    await this.ends(run);
  }

  private async signals(): Promise<void> {
    const a = this.handle('a');
    await a.signal('touch');
    this.step('signal without argument', await this.lastLine('a', 1));
    await a.signal('remark', 'größer als ½ ✓');
    this.step('signal with one argument', await this.lastLine('a', 2));
    await a.signal('put', { name: 'pear', count: 3, tags: ['ripe', 'green'] });
    this.step('signal with an object', await this.lastLine('a', 3));
    await a.signal('move', 'pear', 2, true);
    this.step('signal with several arguments', await this.lastLine('a', 4));
  }

  private async queries(): Promise<void> {
    this.step('query without argument', await this.query('a', 'lines'));
    const has = [await this.query('a', 'has', 'pear', 3), await this.query('a', 'has', 'pear', 4)];
    this.step('query with several arguments', has);
    this.step('query for an object', await this.query('a', 'summary'));
    this.step('query that fails', await this.query('a', 'weigh'));
    const known = await this.query('a', 'taste');
    this.step('query nobody knows', typeof known === 'string' ? 'failed' : 'answered');
    this.step('query to nobody', await this.query('nobody', 'lines'));
  }

  private async updates(): Promise<void> {
    const a = this.handle('a');
    this.step('update', await this.update('a', 'take', 'pear', 1));
    this.step('update with an object', await this.update('a', 'fill', { name: 'fig', count: 2, tags: [] }));
    this.step('update rejected by its validator', await this.update('a', 'take', 'pear', 0));
    this.step('update that fails', await this.update('a', 'take', 'pear', 9));
    const known = await this.update('a', 'juggle');
    this.step('update nobody knows', String(known).startsWith('refused') ? 'refused' : 'answered');

    const later = await a.startUpdate<unknown, [number]>('wait_for_lines', {
      args: [6],
      waitForStage: WorkflowUpdateStage.ACCEPTED,
    });
    await a.signal('touch');
    const answer = await refusal(later.result());
    this.step('update accepted now and answered later', answer);
    const again = await refusal(a.getUpdateHandle(later.updateId).result());
    this.step('the same, asked for by its ID', isDeepStrictEqual(again, answer));
    this.step('signals, accepted and completed updates', await this.counted('a'));
  }

  private async withStart(runId: string): Promise<void> {
    const again = await this.client.workflow.signalWithStart('Basket', {
      ...this.options('a', 'Joan'),
      signal: 'remark',
      signalArgs: ['hello again'],
    });
    this.step('signal-with-start, running', `${await this.lastLine('a', 7)}, ${same(again.signaledRunId, runId)}`);
    await this.client.workflow.signalWithStart('Basket', {
      ...this.options('b', 'Joan'),
      signal: 'move',
      signalArgs: ['plum', 5, false],
    });
    this.step('signal-with-start, not running', await this.lastLine('b', 1));

    const [left, where] = await this.updateWithStart('a', 'take', 'pear', 1);
    this.step('update-with-start, running', `${plain(left)}, ${same(where, runId)}`);
    const [filled] = await this.updateWithStart('c', 'fill', { name: 'kiwi', count: 1, tags: [] });
    this.step('update-with-start, not running', `${plain(filled)}, ${await this.lastLine('c', 1)}`);
    const [refused] = await this.updateWithStart('d', 'take', 'kiwi', -1);
    const { status } = await this.handle('d').describe();
    this.step('update-with-start, rejected', `${refused}, ${status.name}`);
  }

  private async ends(run: WorkflowHandle): Promise<void> {
    const second = this.client.workflow.start('Basket', this.options('a', 'Joan'));
    const refused = await ends(second, WorkflowExecutionAlreadyStartedError);
    this.step('start of what is running', refused ? 'already started' : 'started');

    await run.signal('close');
    this.step('result', await run.result());
    this.step('query after the end', await this.query('a', 'has', 'fig', 2));
    const late = await ends(run.signal('touch'), WorkflowNotFoundError);
    this.step('signal after the end', late ? 'not found' : 'taken');

    const [b, c, d] = [this.handle('b'), this.handle('c'), this.handle('d')];
    await b.signal('spill', 'over there', 7);
    this.step('a workflow that fails', reason(await failure(b)));
    await c.cancel();
    const cancelled = (await failure(c)) instanceof CancelledFailure;
    this.step('a workflow that is cancelled', cancelled ? 'cancelled' : 'not cancelled');
    await d.terminate('enough');
    const terminated = (await failure(d)) instanceof TerminatedFailure;
    this.step('a workflow that is terminated', terminated ? 'terminated' : 'not terminated');
  }
}

async function work(taskQueue: string): Promise<void> {
  // By default the SDK ends all workers on SIGTERM.
  Runtime.install({ logger: new DefaultLogger('WARN') });
  const connection = await NativeConnection.connect({ address });
  const worker = await Worker.create({ connection, taskQueue, workflowsPath: require.resolve('./workflows') });
  const running = worker.run();
  console.log('working');
  await running;
  await connection.close();
}

async function client(taskQueue: string): Promise<void> {
  const connection = await Connection.connect({ address });
  await new Story(new Client({ connection }), taskQueue).tell();
  await connection.close();
}

function fail(message: string, code: number): never {
  console.error(message);
  process.exit(code);
}

const [role, queue] = process.argv.slice(2);
const roles: Record<string, (taskQueue: string) => Promise<void>> = { worker: work, client };
const play = roles[role ?? ''];
if (play === undefined || queue === undefined) fail('usage: cross.js worker|client TASK-QUEUE', 2);
if (role === 'client') setTimeout(() => fail('the story did not end in time', 1), STORY_LIMIT_MS).unref();
play(queue).catch((err) => fail(`the story broke off: ${err.stack}`, 1));
