import {
  condition,
  proxyActivities,
  proxyLocalActivities,
  setDefaultQueryHandler,
  setDefaultSignalHandler,
  setDefaultUpdateHandler,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { finish, listen, log, note } from './signals';

interface Activities {
  echo(text: string): Promise<string>;
  /** Nobody registers this one. */
  unknown(text: string): Promise<string>;
}
const once = { startToCloseTimeout: '10s', retry: { initialInterval: 1, maximumAttempts: 2 } } as const;
const remote = proxyActivities<Activities>(once);
const local = proxyLocalActivities<Activities>(once);

/** Has a handler of that name and a default one, of each kind. */
export async function wellInformed(): Promise<string[]> {
  const heard: string[] = [];
  let finished = false;
  setHandler(finish, () => void (finished = true));
  setHandler(note, (text) => void heard.push(`named note(${text})`));
  setHandler(log, () => heard);
  setHandler(listen, (name) => [`named listen(${name})`]);
  setDefaultSignalHandler((name, ...args) => void heard.push(`default ${name}(${args.join(', ')})`));
  setDefaultQueryHandler((name, ...args) => `default ${name}(${args.join(', ')})`);
  setDefaultUpdateHandler((name, ...args) => `default ${name}(${args.join(', ')})`);
  await condition(() => finished);
  return heard;
}

/** Returns what a known and an unknown activity say, each both remote and local. */
export async function errandBoy(): Promise<string[]> {
  return [
    await remote.echo('known'),
    await remote.unknown('remote'),
    await local.echo('known'),
    await local.unknown('local'),
  ];
}

/** Calls an activity that nobody registered, and fails as it does. */
export async function hopeful(): Promise<string> {
  return remote.unknown('anyone?');
}

/** What a worker runs for workflow types that nothing else is registered for; see catchall.ts. */
export async function anyWorkflow(...args: string[]): Promise<string> {
  return `any ${workflowInfo().workflowType}(${args.join(', ')})`;
}
