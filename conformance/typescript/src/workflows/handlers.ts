import { HandlerUnfinishedPolicy } from '@temporalio/common';
import {
  allHandlersFinished,
  ApplicationFailure,
  condition,
  currentUpdateInfo,
  defineQuery,
  defineSignal,
  defineUpdate,
  setHandler,
  sleep,
} from '@temporalio/workflow';
import { release } from './ledger';
import { finish, log, note } from './signals';
import { standing } from './standing';
import { Mutex, turns } from './turns';

/** The update that code runs for, as 'name id', or none. */
function current(): string {
  const info = currentUpdateInfo();
  return info === undefined ? 'none' : `${info.name} ${info.id}`;
}

/** Answers with what its handler, before and after a wait, and a function it did not wait for believed to run for. */
export const whoAmI = defineUpdate<string[], [expected: string]>('who_am_i');
export const whoAsks = defineQuery<string>('who_asks');

/** Notes, wherever its code runs, which update that is for. */
export async function selfAware(): Promise<string[]> {
  const seen = [`main: ${current()}`];
  let finished = false;
  setHandler(finish, () => void (finished = true));
  setHandler(whoAsks, current);
  setHandler(note, async () => {
    seen.push(`signal: ${current()}`);
    await sleep(1);
    seen.push(`signal, later: ${current()}`);
  });
  setHandler(
    whoAmI,
    async () => {
      const steps = [current()];
      const aside = sleep(2).then(() => steps.push(current()));
      await sleep(1);
      steps.push(current());
      await aside;
      return steps;
    },
    {
      validator: (expected) => {
        if (current() !== expected) throw ApplicationFailure.create({ message: `validator: ${current()}` });
      },
    },
  );
  await condition(() => finished && allHandlersFinished());
  return [...seen, `main, later: ${current()}`];
}

export const hold = defineSignal<[name: string]>('hold');
export const holdUpdate = defineUpdate<boolean, [name: string]>('hold_update');
export const allFinished = defineQuery<boolean>('all_finished');

/** Has handlers that wait until their name is released, and waits for them before it returns. */
export async function patient(): Promise<string> {
  const released = new Set<string>();
  let finished = false;
  setHandler(finish, () => void (finished = true));
  setHandler(release, (name) => void released.add(name));
  setHandler(allFinished, () => allHandlersFinished());
  setHandler(hold, (name) => condition(() => released.has(name)));
  setHandler(holdUpdate, async (name) => {
    const inside = allHandlersFinished();
    await condition(() => released.has(name));
    return inside;
  });
  await condition(() => finished);
  await condition(allHandlersFinished);
  return [...released].join(' ');
}

/** Has the same handlers, and returns without waiting for them. */
export async function hasty(policy: 'WARN_AND_ABANDON' | 'ABANDON'): Promise<void> {
  let finished = false;
  const unfinishedPolicy = HandlerUnfinishedPolicy[policy];
  setHandler(finish, () => void (finished = true));
  setHandler(hold, () => condition(() => false), { unfinishedPolicy });
  setHandler(holdUpdate, () => condition(() => false).then(() => false), { unfinishedPolicy });
  await condition(() => finished);
}

/** Returns and completes its update in one activation, in this order; the update answers with what was before it. */
export async function closeRace(): Promise<string> {
  let finished = false;
  let returned = false;
  setHandler(finish, () => void (finished = true));
  setHandler(holdUpdate, async () => {
    await condition(() => finished);
    await turns(50);
    return returned;
  });
  await condition(() => finished);
  returned = true;
  return 'returned';
}

export const failFirst = defineSignal('fail_first');
export const failLast = defineSignal('fail_last');

/** Returns and is failed by a signal in one activation; the signal says which comes first. */
export async function failRace(): Promise<string> {
  let awake = false;
  let patience = 0;
  const failing = ApplicationFailure.create({ message: 'failed by the signal', type: 'Race' });
  setHandler(failFirst, () => {
    [awake, patience] = [true, 50];
    throw failing;
  });
  setHandler(failLast, async () => {
    awake = true;
    await turns(50);
    throw failing;
  });
  await condition(() => awake);
  await turns(patience);
  return 'returned';
}

/** Adds to a balance that it reads first and writes after a while. */
export const deposit = defineUpdate<number, [amount: number]>('deposit');
export const depositSignal = defineSignal<[amount: number]>('deposit');

/** An account with a door that lets one handler in at a time. */
export async function account(): Promise<number> {
  const door = new Mutex();
  const visits: string[] = [];
  let balance = 0;
  let finished = false;
  const add = (amount: number) =>
    door.hold(async () => {
      visits.push(`in ${amount}`);
      const before = balance;
      await sleep(1);
      balance = before + amount;
      visits.push(`out ${amount}`);
      return balance;
    });
  setHandler(finish, () => void (finished = true));
  setHandler(log, () => visits);
  setHandler(deposit, add);
  setHandler(depositSignal, async (amount) => void (await add(amount)));
  await condition(() => finished && allHandlersFinished());
  return balance;
}

/** Its update handler stands before the main function runs; see headers.ts. A second one is set at the top of main. */
export const topOfMain = defineUpdate<number, [item: string]>('top_of_main');

export async function early(): Promise<string[]> {
  setHandler(topOfMain, (item) => standing.push(item));
  standing.push('main');
  let finished = false;
  setHandler(finish, () => void (finished = true));
  await condition(() => finished);
  return standing;
}
