import {
  allHandlersFinished,
  ApplicationFailure,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  proxyActivities,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type * as activities from '../activities';
import { finish } from './signals';

const { echo } = proxyActivities<typeof activities>({ startToCloseTimeout: '20s' });

export const tick = defineSignal<[name: string]>('tick');
export const tock = defineUpdate<string, [name: string]>('tock');
/** How many messages have been handled from the first run of the chain on. */
export const handled = defineQuery<number>('handled');

/** What a run hands over to the next. */
export interface Crowd {
  handled: string[];
  runs: number;
}

/** Messages whose name begins with an exclamation mark are turned away. */
function polite(name: string): void {
  if (name.startsWith('!')) throw ApplicationFailure.create({ message: `${name} is turned away` });
}

/**
 * Handles messages until it is told to finish; returns the names of all, in the order they were done. Continues as new
 * after `perRun` of them, when that is not 0, as soon as no handler is busy.
 */
export async function crossing(perRun: number, busy: boolean, crowd: Crowd = { handled: [], runs: 0 }): Promise<Crowd> {
  const done = crowd.handled;
  const before = done.length;
  let finished = false;
  const handle = async (name: string) => {
    const heard = busy ? await echo(name) : name;
    done.push(heard);
    return `${heard} in run ${crowd.runs + 1}`;
  };
  setHandler(finish, () => void (finished = true));
  setHandler(handled, () => done.length);
  setHandler(tick, async (name) => void (await handle(name)));
  setHandler(tock, handle, { validator: polite });
  const full = () => perRun > 0 && done.length - before >= perRun;
  await condition(() => (finished || full()) && allHandlersFinished());
  crowd.runs++;
  if (finished) return crowd;
  return continueAsNew<typeof crossing>(perRun, busy, crowd);
}

/** Counts those who pass, with handlers that never wait. */
export async function turnstile(): Promise<string[]> {
  const passed: string[] = [];
  let finished = false;
  setHandler(finish, () => void (finished = true));
  setHandler(handled, () => passed.length);
  setHandler(tick, (name) => void passed.push(name));
  await condition(() => finished);
  return passed;
}

/** Tells the order in which messages that came before its first task were handled. */
export async function lateRiser(): Promise<string[]> {
  const order: string[] = [];
  let cancelled = false;
  setHandler(tick, (name) => void order.push(`signal ${name}`));
  setHandler(tock, (name) => `update ${order.push(`update ${name}`)}`, { validator: polite });
  setHandler(handled, () => order.length);
  order.push(`main of run ${workflowInfo().attempt}`);
  await condition(() => false).catch(() => void (cancelled = true));
  return [...order, `cancelled: ${cancelled}`];
}
