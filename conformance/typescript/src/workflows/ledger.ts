import {
  allHandlersFinished,
  ApplicationFailure,
  condition,
  defineQuery,
  defineSignal,
  defineUpdate,
  proxyActivities,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type * as activities from '../activities';
import { finish } from './signals';
import { atLeast } from './revision';

export const items = defineQuery<string[]>('items');
/** When this copy of the workflow came into being on the worker's own clock: another one after each replay. */
export const born = defineQuery<number>('born');
export const release = defineSignal<[item: string]>('release');
/** Ends the workflow without regard for handlers that are still busy. */
export const leave = defineSignal('leave');
/** Answers with the number of items once the item is in. Blank items are rejected. */
export const add = defineUpdate<number, [item: string]>('add');
/** The same, once the item has been released. */
export const addLater = defineUpdate<number, [item: string]>('add_later');
/** Adds the item and ends the workflow in the same step. */
export const addLast = defineUpdate<number, [item: string]>('add_last');
/** Ends the workflow and never answers. */
export const walkOut = defineUpdate<void>('walk_out');
/** Is accepted and then fails. */
export const decline = defineUpdate<void, [reason: string]>('decline');
/** The first revision stumbles over it, after it was accepted; the third one rejects it. */
export const stumbleOver = defineUpdate<number, [item: string]>('stumble_over');
/** Later revisions accept less than the first one did. */
export const addStrictly = defineUpdate<number, [item: string]>('add_strictly');
/** Adds all parts of a thing that the validator takes apart. */
export const addParts = defineUpdate<number, [thing: { parts: string[] }]>('add_parts');
/** Has an activity add the item, by an update of its own. */
export const addByActivity = defineUpdate<string[], [item: string]>('add_by_activity');

const { addToOwner } = proxyActivities<typeof activities>({ startToCloseTimeout: '20s' });

function notBlank(item: string): void {
  if (item.trim() === '') throw ApplicationFailure.create({ message: 'a blank item', type: 'Blank' });
}

/** Keeps items, in the order in which updates added them. */
export async function ledger(): Promise<string[]> {
  const kept: string[] = [];
  const released = new Set<string>();
  let end: 'finish' | 'leave' | undefined;

  const bornAt = workflowInfo().unsafe.now();
  setHandler(born, () => bornAt);
  setHandler(items, () => kept);
  setHandler(release, (item) => void released.add(item));
  setHandler(finish, () => void (end ??= 'finish'));
  setHandler(leave, () => void (end = 'leave'));
  setHandler(add, (item) => kept.push(item), { validator: notBlank });
  setHandler(
    addLater,
    async (item) => {
      await condition(() => released.has(item));
      return kept.push(item);
    },
    { validator: notBlank },
  );
  setHandler(addLast, (item) => {
    end = 'leave';
    return kept.push(item);
  });
  setHandler(walkOut, async () => {
    end = 'leave';
    await condition(() => false);
  });
  setHandler(decline, (reason) => {
    throw ApplicationFailure.create({ message: reason, type: 'Declined', details: [{ reason }] });
  });
  setHandler(
    stumbleOver,
    (item) => {
      if (!atLeast(2)) throw new Error('a fault in this revision');
      return kept.push(item);
    },
    {
      validator: (item) => {
        if (atLeast(3)) throw ApplicationFailure.create({ message: `${item} is in the way` });
      },
    },
  );
  setHandler(addStrictly, (item) => kept.push(item), {
    validator: (item) => {
      if (atLeast(2) && item.length > 3) throw ApplicationFailure.create({ message: `${item} is too long` });
    },
  });
  setHandler(addParts, (thing) => kept.push(...thing.parts), {
    validator: (thing) => void thing.parts.splice(0),
  });
  setHandler(addByActivity, async (item) => {
    const count = await addToOwner(item);
    return kept.slice(0, count);
  });

  await condition(() => end !== undefined);
  if (end === 'finish') await condition(allHandlersFinished);
  return kept;
}
