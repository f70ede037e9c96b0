/**
 * A guest book kept by a workflow, told in steps that check themselves.
 *
 * Every way of talking to a running workflow has its step: signals, queries, updates, signal-with-start, signals from
 * one workflow to another, and the catch-all (default) form of each handler, of a workflow and of an activity.
 *
 * Needs a server at TEMPORAL_ADDRESS (default localhost:7233) with the namespace "default". The worker runs in this
 * process. Prints one line a step; the first surprise ends the program with status 1.
 */
import { randomUUID } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import * as activities from './activities';
import { Surprise, tell } from './story';

const STORY_LIMIT_MS = 60_000;

async function main(): Promise<void> {
  // Warnings only, so that nothing stands between the steps.
  Runtime.install({ logger: new DefaultLogger('WARN') });
  const address = process.env.TEMPORAL_ADDRESS || 'localhost:7233';
  const queue = `guestbook-typescript-${randomUUID().slice(0, 8)}`;

  const native = await NativeConnection.connect({ address });
  const connection = await Connection.connect({ address });
  try {
    const worker = await Worker.create({
      connection: native,
      taskQueue: queue,
      workflowsPath: require.resolve('./workflows'),
      activities,
    });
    await worker.runUntil(tell(new Client({ connection }), queue, STORY_LIMIT_MS));
  } finally {
    await connection.close();
    await native.close();
  }
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}

setTimeout(() => fail(`the story did not end within ${STORY_LIMIT_MS / 1000} s`), STORY_LIMIT_MS).unref();
main().catch((err) => fail(err instanceof Surprise ? err.message : `the story broke off: ${err}`));
