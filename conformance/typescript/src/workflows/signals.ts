import {
  allHandlersFinished,
  ApplicationFailure,
  condition,
  defineQuery,
  defineSignal,
  defineUpdate,
  setDefaultSignalHandler,
  setHandler,
  sleep,
} from '@temporalio/workflow';
import { baggage } from './headers';
import { atLeast } from './revision';

export interface Parcel {
  to: string;
  weights: number[];
}

export const note = defineSignal<[text: string]>('note');
export const parcel = defineSignal<[count: number, name: string, parcel: Parcel]>('parcel');
export const finish = defineSignal('finish');
export const log = defineQuery<string[]>('log');

/** Writes down when its handlers begin and go on, and when main takes its first step. */
export async function notebook(): Promise<string[]> {
  const lines: string[] = [];
  let finished = false;
  setHandler(log, () => lines);
  setHandler(finish, () => void (finished = true));
  setHandler(note, async (text) => {
    lines.push(`begin ${text}`);
    await sleep(1);
    lines.push(`end ${text}`);
  });
  setHandler(parcel, (...args) => void lines.push(JSON.stringify(args)));
  lines.push('main');
  await condition(() => finished && allHandlersFinished());
  return lines;
}

/** Sets a handler for signals of that name, or for all when it is empty; answers with what has been heard. */
export const listen = defineUpdate<string[], [name: string]>('listen');
/** Takes the handler of that name away. */
export const ignore = defineUpdate<void, [name: string]>('ignore');

/** Hears no signal until it is told to listen. */
export async function deaf(): Promise<string[]> {
  const heard: string[] = [];
  let handlers = 0;
  let finished = false;
  setHandler(log, () => heard);
  setHandler(finish, () => void (finished = true));
  setHandler(listen, (name) => {
    const handler = ++handlers;
    if (name === '') setDefaultSignalHandler((signal, text) => void heard.push(`${handler} ${signal} ${text}`));
    else setHandler(defineSignal<[string]>(name), (text) => void heard.push(`${handler} ${name} ${text}`));
    return heard;
  });
  setHandler(ignore, (name) => setHandler(defineSignal<[string]>(name), undefined));
  await condition(() => finished);
  return heard;
}

export const fail = defineSignal<[reason: string]>('fail');
export const stumble = defineSignal('stumble');

/** One signal fails it; over another one its first revision stumbles. */
export async function frail(): Promise<string> {
  let end = '';
  setHandler(fail, (reason) => {
    throw ApplicationFailure.create({ message: reason, type: 'Frail', details: ['a detail'] });
  });
  setHandler(stumble, () => {
    if (!atLeast(2)) throw new Error('a fault in this revision');
    end = 'healed';
  });
  await condition(() => end !== '');
  return end;
}

/** Returns the baggage that came with its signals. */
export async function porter(expected: number): Promise<string[]> {
  setHandler(note, () => undefined);
  await condition(() => baggage.length >= expected);
  return baggage;
}
