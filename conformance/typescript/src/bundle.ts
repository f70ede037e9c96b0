/** Bundles the workflows, once for all tests. A worker that is given the sources would do so itself, each time. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';

async function write(name: string, entry: string): Promise<void> {
  const { code } = await bundleWorkflowCode({
    workflowsPath: require.resolve(entry),
    workflowInterceptorModules: [require.resolve('./workflows/headers')],
    logger: new DefaultLogger('WARN'),
  });
  writeFileSync(join(__dirname, `${name}.bundle.js`), code);
}

async function main(): Promise<void> {
  await write('named', './workflows/index');
  await write('catchall', './workflows/catchall');
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
