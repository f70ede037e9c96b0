/** A worker in a process of its own, to be killed by a test: node killable.js TASK-QUEUE. Says when it works. */
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import * as activities from './activities';
import { address, bundle, NAMESPACE } from './rig';

async function main(taskQueue: string): Promise<void> {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const connection = await NativeConnection.connect({ address });
  const worker = await Worker.create({
    connection,
    namespace: NAMESPACE,
    taskQueue,
    workflowBundle: bundle({}),
    activities,
    stickyQueueScheduleToStartTimeout: '500ms', // so that its successor need not wait long for its tasks
  });
  const running = worker.run();
  console.log('working');
  await running;
}

main(process.argv[2]!).catch((err) => {
  console.error(err);
  process.exit(1);
});
