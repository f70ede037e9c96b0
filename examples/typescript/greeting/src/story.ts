import { isDeepStrictEqual } from 'node:util';
import {
  WorkflowUpdateFailedError,
  WorkflowUpdateStage,
  type Client,
  type WorkflowHandle,
} from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/common';
import {
  changeSalutation,
  close,
  entryNumber,
  guestbook,
  lateArrival,
  latest,
  messenger,
  remarksMade,
  waitForEntries,
  welcome,
} from './workflows';

/** Something came out other than it should. */
export class Surprise extends Error {}

/** Prints the steps and stops at the first one that differs from what it should be. */
class Story {
  private steps = 0;

  step<T extends string | string[]>(title: string, got: T, want: T): void {
    this.steps++;
    if (!isDeepStrictEqual(got, want)) {
      const [g, w] = [JSON.stringify(got), JSON.stringify(want)];
      throw new Surprise(`step ${this.steps}, ${title}:\n  got  ${g}\n  want ${w}`);
    }
    const shown = Array.isArray(got) ? got.join('; ') : got;
    console.log(`${String(this.steps).padStart(2)} ${title}: ${shown}`);
  }
}

/** The reason for which an update was rejected or failed. */
async function refusal(update: Promise<unknown>): Promise<string> {
  try {
    return `not refused, but answered ${JSON.stringify(await update)}`;
  } catch (err) {
    if (err instanceof WorkflowUpdateFailedError) return err.cause?.message ?? 'no reason';
    throw err;
  }
}

/** The events that carry one of the given attributes, in order; a signal with its name. */
async function events(handle: WorkflowHandle, kinds: string[]): Promise<string[]> {
  const { events } = await handle.fetchHistory();
  return (events ?? []).flatMap((event) => {
    const signal = event.workflowExecutionSignaledEventAttributes?.signalName;
    const attributes = event as unknown as Record<string, unknown>;
    return kinds.filter((kind) => attributes[`${kind}EventAttributes`] != null).map((kind) => signal ?? kind);
  });
}

/** Tells the whole story; queue is a task queue of this run's own, limit bounds each workflow in milliseconds. */
export async function tell(client: Client, queue: string, limit: number): Promise<void> {
  const story = new Story();
  const options = (name: string) => ({
    workflowId: `${queue}-${name}`,
    taskQueue: queue,
    workflowExecutionTimeout: limit,
  });

  const book = await client.workflow.start(guestbook, { ...options('main'), args: ['Hello'] });
  story.step('start', (await book.describe()).status.name, 'RUNNING');

  await book.signal(welcome, 'Ada');
  story.step('signal', await book.executeUpdate(waitForEntries, { args: [1] }), 'Hello, Ada!');
  story.step('query', await book.query(latest), 'Hello, Ada!');

  const typed = client.workflow.getHandle<typeof guestbook>(book.workflowId);
  await typed.signal(lateArrival, 'Grace');
  const second = await typed.executeUpdate(waitForEntries, { args: [2] });
  story.step('signal with a name of its own, by a typed handle', second, 'Hello, late Grace!');

  const untyped = client.workflow.getHandle(book.workflowId);
  const first = await untyped.query<string, [number]>('Entry number', 1);
  story.step('query with an argument, by an untyped handle', first, 'Hello, Ada!');
  story.step('query with an argument, by its definition', await book.query(entryNumber, 2), 'Hello, late Grace!');

  story.step('update', await book.executeUpdate(changeSalutation, { args: ['Good day'] }), 'Hello');
  const blank = await refusal(book.executeUpdate(changeSalutation, { args: ['  '] }));
  story.step('update turned down by its validator', blank, 'a salutation cannot be blank');

  const accepted = await book.startUpdate(waitForEntries, {
    args: [3],
    waitForStage: WorkflowUpdateStage.ACCEPTED,
  });
  await book.signal(welcome, 'Katherine');
  const later = await book.getUpdateHandle<string>(accepted.updateId).result();
  story.step('update accepted now and answered later', later, 'Good day, Katherine!');

  const other = await client.workflow.signalWithStart(guestbook, {
    ...options('second'),
    args: ['Welcome'],
    signal: welcome,
    signalArgs: ['Joan'],
  });
  const joan = await other.executeUpdate(waitForEntries, { args: [1] });
  story.step('signal-with-start, not running yet', joan, 'Welcome, Joan!');

  const again = await client.workflow.signalWithStart(guestbook, {
    ...options('second'),
    args: ['Unused'],
    signal: welcome,
    signalArgs: ['Frances'],
  });
  const frances = await other.executeUpdate(waitForEntries, { args: [2] });
  const same = again.signaledRunId === other.signaledRunId ? 'same run' : 'another run';
  story.step('signal-with-start, running', [frances, same], ['Welcome, Frances!', 'same run']);

  const errand = await client.workflow.start(messenger, { ...options('messenger'), args: [book.workflowId] });
  story.step('signals from another workflow', await errand.result(), ['typed', 'by name', 'no such book']);
  const radia = await book.executeUpdate(waitForEntries, { args: [5] });
  story.step('signals from another workflow, arrived', radia, 'Good day, late Radia!');

  await book.signal<[string, number]>('sing', 'la', 3);
  story.step('dynamic signal', await book.query(remarksMade), ['sing(la, 3)']);
  const mood = await book.query<string, [string]>('mood', 'today');
  story.step('dynamic query', mood, 'mood(today) after 5 entries');
  const toast = await book.executeUpdate<string, [string]>('toast', { args: ['Dorothy'] });
  story.step('dynamic update', toast, 'noted as remark 2');
  const silent = await refusal(book.executeUpdate('toast'));
  story.step('dynamic update that fails', silent, 'toast says nothing');

  const unheard = await client.workflow.start('Never heard of', { ...options('dynamic'), args: ['Margaret'] });
  story.step('dynamic workflow', await unheard.result(), 'Never heard of: Hello, Margaret!');

  await other.signal(close);
  story.step('signal without an argument, dynamic activity', await other.result(), [
    'Welcome, Joan!',
    'Welcome, Frances!',
    'binding of 2 entries',
  ]);

  await book.signal('close');
  story.step('result', await book.result(), [
    'Hello, Ada!',
    'Hello, late Grace!',
    'Good day, Katherine!',
    'Good day, Hedy!',
    'Good day, late Radia!',
    'binding of 5 entries',
  ]);
  story.step('query after the end', await book.query(latest), 'Good day, late Radia!');

  const tooLate = await book.signal(welcome, 'Too late').then(
    () => 'taken',
    (err) => (err instanceof WorkflowNotFoundError ? 'not found' : String(err)),
  );
  story.step('signal after the end', tooLate, 'not found');

  const signals = await events(book, ['workflowExecutionSignaled']);
  story.step('signals in the history', signals, [
    'welcome',
    'Late arrival',
    'welcome',
    'welcome',
    'Late arrival',
    'sing',
    'close',
  ]);
  const acceptances = await events(book, ['workflowExecutionUpdateAccepted']);
  const completions = await events(book, ['workflowExecutionUpdateCompleted']);
  story.step(
    'updates in the history, the rejected ones left no trace',
    `${acceptances.length} accepted, ${completions.length} completed`,
    '7 accepted, 7 completed',
  );
  const sent = await events(errand, [
    'signalExternalWorkflowExecutionInitiated',
    'externalWorkflowExecutionSignaled',
    'signalExternalWorkflowExecutionFailed',
  ]);
  story.step("the messenger's history", sent, [
    'signalExternalWorkflowExecutionInitiated',
    'externalWorkflowExecutionSignaled',
    'signalExternalWorkflowExecutionInitiated',
    'externalWorkflowExecutionSignaled',
    'signalExternalWorkflowExecutionInitiated',
    'signalExternalWorkflowExecutionFailed',
  ]);
}
