/** What the tests share: a connection, the workflows as a bundle, and a rig for each test. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import {
  Client,
  Connection,
  defaultGrpcRetryOptions,
  makeGrpcRetryInterceptor,
  WithStartWorkflowOperation,
  WorkflowUpdateFailedError,
  type WorkflowClientInterceptor,
  type WorkflowHandle,
  type WorkflowHandleWithStartDetails,
  type WorkflowStartOptions,
} from '@temporalio/client';
import { defaultPayloadConverter, toPayloads, type UpdateDefinition, type Workflow } from '@temporalio/common';
import {
  DefaultLogger,
  makeTelemetryFilterString,
  NativeConnection,
  Runtime,
  Worker,
  type LogEntry,
  type ReplayHistoriesIterable,
  type WorkerOptions,
} from '@temporalio/worker';
import * as activities from './activities';
import { attributesOf, closed, judge, successor, typeOf, type HistoryEvent } from './judge';

export const NAMESPACE = 'default';
const TEST_LIMIT_MS = 90_000;
/** The code of gRPC. */
const NOT_FOUND = 5;

/** The server to judge. */
export const address = process.env.PERDURE_ADDRESS || 'localhost:7233';

/** All warnings and errors of workers and of workflow code. Tests that fail workflow tasks on purpose are silent so. */
export const logged: LogEntry[] = [];

// Set by open, before the first test.
let native: NativeConnection;
let connection: Connection;
let patient: Connection | undefined;
export let client: Client;

export async function open(): Promise<void> {
  Runtime.install({
    logger: new DefaultLogger('WARN', (entry) => void logged.push(entry)),
    telemetryOptions: { logging: { filter: makeTelemetryFilterString({ core: 'WARN', other: 'ERROR' }), forward: {} } },
    // A signal ends this process at once; workers have nothing to finish.
    shutdownSignals: [],
  });
  native = await NativeConnection.connect({ address });
  connection = await Connection.connect({ address });
  client = new Client({ connection, namespace: NAMESPACE });
}

export async function close(): Promise<void> {
  await connection.close();
  await patient?.close();
  await native.close();
}

/** A client like the shared one, with interceptors. */
export function interceptedClient(...interceptors: WorkflowClientInterceptor[]): Client {
  return new Client({ connection, namespace: NAMESPACE, interceptors: { workflow: interceptors } });
}

/**
 * A client that has patience with a busy workflow. A workflow takes few updates at a time and sends the others away,
 * and by default a client gives up after the tenth time.
 */
export async function patientClient(): Promise<Client> {
  patient ??= await Connection.connect({
    address,
    interceptors: [
      makeGrpcRetryInterceptor(defaultGrpcRetryOptions({ maxAttempts: 1000, initialIntervalMs: () => 500 })),
    ],
  });
  return new Client({ connection: patient, namespace: NAMESPACE });
}

/** Which state of the code a worker runs. */
export interface Code {
  /** 2 heals what 1 stumbles over, 3 is stricter than both; see workflows/revision.ts. Default 1. */
  revision?: 1 | 2 | 3;
  /** Also has a workflow for every type that has none of its own. */
  catchAll?: boolean;
}

const bundles = new Map<string, string>();

/** The bundled workflows. A revision is the same bundle with another number in one place. */
export function bundle({ revision = 1, catchAll = false }: Code): { code: string } {
  const name = catchAll ? 'catchall' : 'named';
  const key = `${name} ${revision}`;
  let code = bundles.get(key);
  if (code === undefined) {
    const text = readFileSync(join(__dirname, `${name}.bundle.js`), 'utf8');
    code = text.replaceAll('revision-1', `revision-${revision}`);
    if (!text.includes('revision-1')) throw new Error('the bundle does not say its revision');
    bundles.set(key, code);
  }
  return { code };
}

/** A worker that runs. */
export class Crew {
  private readonly running: Promise<void>;

  constructor(readonly worker: Worker) {
    this.running = worker.run();
    this.running.catch(() => undefined); // stop tells
  }

  /** Lets the worker finish what it has at hand, and forgets all cached workflows. */
  async stop(): Promise<void> {
    if (this.worker.getState() === 'RUNNING') this.worker.shutdown();
    await this.running;
  }
}

interface Left {
  workflowId: string;
  history: HistoryEvent[];
}

/** Histories that tests left behind, by the code that has to be able to replay them. */
const left = new Map<string, { code: Code; runs: Left[] }>();

/** Wraps the body of a test: it gets a rig of its own, has to end in time, and what it leaves behind is judged. */
export function proof(body: (rig: Rig) => Promise<void>, limitMs = TEST_LIMIT_MS): (t: TestContext) => Promise<void> {
  return async (t) => {
    const rig = new Rig(t.name);
    const limit = new AbortController();
    const tooLong = new Promise<never>((_, reject) => {
      const timer = setTimeout(() => reject(new Error(`not done after ${limitMs / 1000} s`)), limitMs);
      limit.signal.addEventListener('abort', () => clearTimeout(timer));
    });
    try {
      await Promise.race([body(rig), tooLong]);
    } catch (err) {
      for (const line of await rig.story()) t.diagnostic(line);
      throw err;
    } finally {
      limit.abort();
      await rig.dismiss();
    }
    await rig.judge();
  };
}

let rigs = 0;

/** One test: its task queue, its workers, its workflows. */
export class Rig {
  readonly queue: string;
  private readonly crews: Crew[] = [];
  private ids = 0;
  private readonly begun: { workflowId: string; runId: string }[] = [];
  private code: Code = {};
  private replays = true;

  constructor(name: string) {
    const words = name
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .slice(0, 50);
    this.queue = `${words}-${Date.now().toString(36)}-${++rigs}`;
  }

  /** A workflow ID of this test. */
  id(part: string): string {
    return `${this.queue}/${part}`;
  }

  /** Starts a worker for all workflows and activities. */
  async work(options: Partial<WorkerOptions> & Code = {}): Promise<Crew> {
    const { revision, catchAll, ...rest } = options;
    this.code = { revision, catchAll };
    const crew = new Crew(
      await Worker.create({
        connection: native,
        namespace: NAMESPACE,
        taskQueue: this.queue,
        workflowBundle: bundle(this.code),
        activities,
        // Workflow code runs in this thread: starting a thread for each worker would take most of the tests' time. And
        // nobody stops an activation that takes long because the machine is busy; Node 20 does not survive that.
        debugMode: true,
        ...rest,
      }),
    );
    this.crews.push(crew);
    return crew;
  }

  /** What starting a workflow needs, with an ID of this test's own. */
  options<T extends Workflow>(
    args: Parameters<T>,
    options: Partial<WorkflowStartOptions> = {},
  ): WorkflowStartOptions<T> {
    return {
      taskQueue: this.queue,
      workflowId: this.id(String(++this.ids)),
      ...options,
      args,
    } as unknown as WorkflowStartOptions<T>;
  }

  async start<T extends Workflow>(
    workflow: T | string,
    args: Parameters<T>,
    options: Partial<WorkflowStartOptions> = {},
  ): Promise<WorkflowHandleWithStartDetails<T>> {
    const handle = await client.workflow.start<T>(workflow as T, this.options(args, options));
    this.note(handle.workflowId, handle.firstExecutionRunId);
    return handle;
  }

  /** A start that an update rides on. */
  startOperation<T extends Workflow>(
    workflow: T,
    args: Parameters<T>,
    options: Partial<WorkflowStartOptions> = {},
  ): WithStartWorkflowOperation<T> {
    return new WithStartWorkflowOperation<T>(workflow, {
      ...this.options<T>(args, options),
      workflowIdConflictPolicy: options.workflowIdConflictPolicy ?? 'USE_EXISTING',
    });
  }

  /** Remembers a run that something other than start began. */
  note(workflowId: string, runId: string): void {
    this.begun.push({ workflowId, runId });
  }

  /** Says that no code can replay what this test leaves behind. */
  noReplay(): void {
    this.replays = false;
  }

  /** The events of each run, for people who ask why a test failed. */
  async story(): Promise<string[]> {
    return Promise.all(
      this.begun.slice(0, 4).map(async ({ workflowId, runId }) => {
        const events = await types(client.workflow.getHandle(workflowId, runId)).catch((err) => [String(err)]);
        return `${workflowId}: ${events.slice(0, 60).join(' ')}`;
      }),
    );
  }

  /** Stops all workers, and ends all runs that are still open. */
  async dismiss(): Promise<void> {
    await Promise.all(this.crews.map((crew) => crew.stop()));
    const ends = this.begun.map(({ workflowId }) =>
      client.workflow.getHandle(workflowId).terminate('the test is over'),
    );
    await Promise.allSettled(ends); // most have ended
  }

  /** Judges all runs of the test, with their successors and children, and keeps their histories for the replay. */
  async judge(): Promise<void> {
    const key = JSON.stringify(this.code);
    const group = left.get(key) ?? { code: this.code, runs: [] };
    left.set(key, group);
    const seen = new Set<string>();
    const todo = [...this.begun];
    for (let run = todo.pop(); run !== undefined; run = todo.pop()) {
      if (seen.has(run.runId)) continue;
      seen.add(run.runId);
      const handle = client.workflow.getHandle(run.workflowId, run.runId);
      // Children end a moment after their parent.
      const history = await until(`the end of ${run.workflowId}`, async () => {
        const now = await events(handle);
        return closed(now) && now;
      });
      const faults = judge(history);
      if (faults.length > 0) throw new Error(`${run.workflowId}: ${faults.join('; ')}`);
      const next = successor(history);
      if (next) todo.push({ workflowId: run.workflowId, runId: next });
      for (const event of history) {
        const child = event.childWorkflowExecutionStartedEventAttributes?.workflowExecution;
        if (child) todo.push({ workflowId: child.workflowId!, runId: child.runId! });
      }
      if (this.replays) group.runs.push({ workflowId: run.workflowId, history });
    }
  }
}

/** Replays everything that tests left behind. Returns how many runs that were, and what went wrong. */
export async function replayAll(): Promise<{ runs: number; faults: string[] }> {
  let runs = 0;
  const faults: string[] = [];
  for (const group of left.values()) {
    const histories: ReplayHistoriesIterable = group.runs.map(({ workflowId, history }) => ({
      workflowId,
      history: { events: history },
    }));
    for await (const result of Worker.runReplayHistories({ workflowBundle: bundle(group.code) }, histories)) {
      runs++;
      if (result.error) faults.push(`${result.workflowId}: ${result.error.message}`);
    }
  }
  return { runs, faults };
}

/** All events of the run a handle points to. */
export async function events(handle: WorkflowHandle): Promise<HistoryEvent[]> {
  return (await handle.fetchHistory()).events ?? [];
}

/** The event types of a run in order, with their IDs: '1 WorkflowExecutionStarted'. */
export async function types(handle: WorkflowHandle): Promise<string[]> {
  return (await events(handle)).map((event) => `${event.eventId} ${typeOf(event)}`);
}

/** What the events of one type in a run say. */
export async function only(handle: WorkflowHandle, type: string): Promise<Record<string, any>[]> {
  return (await events(handle)).filter((event) => typeOf(event) === type).map(attributesOf);
}

/** Asks until there is an answer; what is the complaint otherwise. For things the API has no way to wait for. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  for (const deadline = Date.now() + 20_000; ;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Waits for the first event of a type and returns what it says. */
export function watch(handle: WorkflowHandle, type: string): Promise<Record<string, any>> {
  return until(`${type} in ${handle.workflowId}`, async () => (await only(handle, type))[0]);
}

/** Waits until a run has done what there was to do: its last event is the completion of a workflow task. */
export function idle(handle: WorkflowHandle): Promise<HistoryEvent[]> {
  return until(`${handle.workflowId} idle`, async () => {
    const history = await events(handle);
    return typeOf(history.at(-1)!) === 'WorkflowTaskCompleted' && history;
  });
}

/** The error that a promise ends with; it must. */
export async function failure<T extends Error = Error>(
  promise: Promise<unknown>,
  kind?: new (...args: any[]) => T,
): Promise<T> {
  let value: unknown;
  try {
    value = await promise;
  } catch (err) {
    if (kind && !(err instanceof kind)) throw new Error(`want a ${kind.name}`, { cause: err });
    return err as T;
  }
  throw new Error(`it succeeded with ${JSON.stringify(value)}, want an error`);
}

/** The reason why an update was rejected or failed. */
export async function refusal(update: Promise<unknown>): Promise<string> {
  const { cause } = await failure(update, WorkflowUpdateFailedError);
  return cause?.message ?? 'no reason';
}

/** The stages of an update as the API numbers them. */
export const Stage = { ADMITTED: 1, ACCEPTED: 2, COMPLETED: 3 } as const;
type Stage = (typeof Stage)[keyof typeof Stage];

/** Updates a workflow by the bare API, whose answer has the stage. */
export async function ask<Args extends unknown[]>(
  handle: WorkflowHandle,
  update: UpdateDefinition<any, any>,
  args: Args,
  updateId: string,
  lifecycleStage: Stage,
) {
  return client.workflowService.updateWorkflowExecution({
    namespace: NAMESPACE,
    workflowExecution: { workflowId: handle.workflowId },
    waitPolicy: { lifecycleStage },
    request: {
      meta: { updateId },
      input: { name: update.name, args: { payloads: toPayloads(defaultPayloadConverter, ...args) } },
    },
  });
}

/** Polls for an update by the bare API. */
export async function poll(handle: WorkflowHandle, updateId: string, lifecycleStage: Stage) {
  return client.workflowService.pollWorkflowExecutionUpdate({
    namespace: NAMESPACE,
    updateRef: { workflowExecution: { workflowId: handle.workflowId }, updateId },
    waitPolicy: { lifecycleStage },
  });
}

/** Waits until the server knows an update that no worker has seen yet. */
export async function admitted(handle: WorkflowHandle, updateId: string): Promise<void> {
  await until(`update ${updateId} admitted`, async () => {
    try {
      return await poll(handle, updateId, Stage.ADMITTED);
    } catch (err) {
      if ((err as { code?: number }).code === NOT_FOUND) return false;
      throw err;
    }
  });
}
