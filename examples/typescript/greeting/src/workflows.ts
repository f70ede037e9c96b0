import {
  allHandlersFinished,
  ApplicationFailure,
  condition,
  defineQuery,
  defineSignal,
  defineUpdate,
  getExternalWorkflowHandle,
  proxyActivities,
  setDefaultQueryHandler,
  setDefaultSignalHandler,
  setDefaultUpdateHandler,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { compose as Compose, Guest } from './activities';

export const welcome = defineSignal<[name: string]>('welcome');
export const close = defineSignal('close');
export const lateArrival = defineSignal<[name: string]>('Late arrival');
export const latest = defineQuery<string>('latest');
export const entryNumber = defineQuery<string, [number: number]>('Entry number');
export const remarksMade = defineQuery<string[]>('remarks');
/** Answers with entry number count once it has been written. */
export const waitForEntries = defineUpdate<string, [count: number]>('wait_for_entries');
/** Answers with the salutation used until now. */
export const changeSalutation = defineUpdate<string, [salutation: string]>('change_salutation');

const { compose, binding } = proxyActivities<{
  compose: typeof Compose;
  /** No activity has this name: the worker hands it to its catch-all. */
  binding(pages: Guest): Promise<string>;
}>({ startToCloseTimeout: '10s' });

/** Writes an entry for each guest it hears of, in order, until it is asked to close. */
export async function guestbook(salutation: string): Promise<string[]> {
  const guests: string[] = [];
  const entries: string[] = [];
  const remarks: string[] = [];
  let closing = false;

  setHandler(welcome, (name) => void guests.push(name));
  setHandler(close, () => void (closing = true));
  setHandler(lateArrival, (name) => void guests.push(`late ${name}`));
  setDefaultSignalHandler((name, ...args) => void remarks.push(`${name}(${args.join(', ')})`));

  setHandler(latest, () => entries.at(-1) ?? '');
  setHandler(entryNumber, (number) => {
    const entry = entries[number - 1];
    if (entry === undefined) throw new Error(`no entry ${number}`);
    return entry;
  });
  setHandler(remarksMade, () => remarks);
  setDefaultQueryHandler((name, ...args) => `${name}(${args.join(', ')}) after ${entries.length} entries`);

  setHandler(waitForEntries, async (count) => {
    await condition(() => entries.length >= count);
    return entries[count - 1]!;
  });
  setHandler(
    changeSalutation,
    (next) => {
      const before = salutation;
      salutation = next;
      return before;
    },
    {
      validator: (next) => {
        if (next.trim() === '') throw ApplicationFailure.create({ message: 'a salutation cannot be blank' });
      },
    },
  );
  // A default update handler has no validator: it can only fail an update that was accepted.
  setDefaultUpdateHandler((name, ...args) => {
    if (args.length === 0) throw ApplicationFailure.create({ message: `${name} says nothing` });
    remarks.push(`${name}(${args.join(', ')})`);
    return `noted as remark ${remarks.length}`;
  });

  for (;;) {
    await condition(() => guests.length > 0 || closing);
    const name = guests.shift();
    if (name === undefined) break;
    entries.push(await compose({ salutation, name }));
  }
  const colophon = await binding({ salutation: '', name: `${entries.length} entries` });
  // An update that is still waiting would be cut off by returning now.
  await condition(allHandlersFinished);
  return [...entries, colophon];
}

/** Brings guests to a book kept by another workflow. */
export async function messenger(bookId: string): Promise<string[]> {
  const book = getExternalWorkflowHandle(bookId);
  await book.signal(welcome, 'Hedy'); // by definition: the argument is checked
  await book.signal<[string]>('Late arrival', 'Radia'); // by name: it is what the sender says
  try {
    await getExternalWorkflowHandle(`${bookId}-burnt`).signal(welcome, 'Nobody');
  } catch (err) {
    if (!(err instanceof ApplicationFailure) || !err.message.includes('not found')) throw err;
    return ['typed', 'by name', 'no such book'];
  }
  throw ApplicationFailure.nonRetryable('a workflow that never was took a signal');
}

/** The export named default runs for every workflow type that nothing else is registered for. */
export default async function anyWorkflow(name: string): Promise<string> {
  return `${workflowInfo().workflowType}: ${await compose({ salutation: 'Hello', name })}`;
}
