import { condition, defineQuery, setCurrentDetails, setDefaultQueryHandler, setHandler } from '@temporalio/workflow';
import { baggage } from './headers';
import { finish, note } from './signals';

export const weather = defineQuery<string>('weather');
export const forecast = defineQuery<string, [day: string]>('forecast');
/** Changes what the main function waits for, as no query should. */
export const meddle = defineQuery<boolean>('meddle');
export const broken = defineQuery<string>('broken');
export const promised = defineQuery<string>('promised');
export const luggage = defineQuery<string[]>('luggage');

/** Answers questions about the weather that signals tell it. */
export async function station(): Promise<string> {
  let now = 'unknown';
  let meddled = false;
  let woken = false;
  let finished = false;
  setCurrentDetails('on the roof');
  setHandler(weather, () => (woken ? 'woken' : now), { description: 'The weather of now' });
  setHandler(forecast, (day) => `${day} as today: ${now}`);
  setHandler(meddle, () => (meddled = true));
  setHandler(broken, () => {
    throw new Error('the barometer is broken');
  });
  setHandler(promised, (async () => 'rain') as unknown as () => string);
  setHandler(luggage, () => baggage);
  setHandler(note, (text) => void (now = text), { description: 'A look out of the window' });
  setHandler(finish, () => void (finished = true));
  // Looks out for ever; so there is something to see on a stack after the end, too.
  void keepWatch();
  await condition(() => meddled || finished);
  woken = true;
  return now;
}

async function keepWatch(): Promise<void> {
  await condition(() => false);
}

export const questions = defineQuery<string[]>('questions');

/** Answers every query, and remembers what it was asked. */
export async function oracle(): Promise<void> {
  const asked: string[] = [];
  let finished = false;
  setHandler(questions, () => asked);
  setHandler(finish, () => void (finished = true));
  setDefaultQueryHandler((name, ...args) => {
    asked.push(name);
    return `${name}(${args.join(', ')})`;
  });
  await condition(() => finished);
}
