// Roaming: every other page that the navigation leads to, and those it does not lead to yet.
import { strict as assert } from 'node:assert';
import { book, count, history, pathOf, shows, until } from './story.js';

const crowd = ['first of many', 'second of many', 'third of many'];

export async function roam(report, client) {
  await report.check('namespaces are listed', async (page) => {
    await page.goto('/namespaces');
    const cells = page.getByRole('table').getByRole('link');
    await shows(cells.nth(0), 'default');
    await shows(cells.nth(1), 'second');
    await count(cells, 2);
  });

  await report.check('a namespace is described', async (page) => {
    await page.getByRole('link', { name: 'default', exact: true }).click();
    await shows(page.getByRole('main'), /Namespace: default .*Retention Period 1 day/);
    await shows(page.getByRole('main'), /Mood Keyword/);
  });

  await report.check('the other namespace is empty', async (page) => {
    await page.goto('/namespaces/second/workflows');
    await shows(page.getByRole('heading', { level: 1 }), '0 Workflows');
    await shows(page.getByRole('main'), 'No Workflows');
  });

  await report.check('a task queue has its page', async (page) => {
    await page.goto('/namespaces/default/task-queues/guests');
    await shows(page.getByRole('main'), /guests.*the-worker/);
  });

  await report.check('a run that is not there is reported', async (page) => {
    await page.goto('/namespaces/default/workflows/nobody/00000000-0000-4000-8000-000000000000/history');
    await shows(page.locator('body'), /not found/i);
  }, { complaints: [/^404 GET .*\/workflows\/nobody/] });

  await report.check('standalone activities are not there', async (page) => {
    await page.goto('/namespaces/default/activities');
    await shows(page.getByRole('main'), 'Standalone Activities are disabled');
  });

  await report.check('worker heartbeats are not there', async (page) => {
    await page.goto('/namespaces/default/workers');
    await shows(page.getByRole('main'), 'Worker Heartbeats Disabled');
  });

  await report.check('schedules are not there', async (page) => {
    await page.goto('/namespaces/default/schedules');
    await shows(page.getByRole('main'), 'No Schedules Found');
  }, { complaints: [/^501 GET .*\/schedules$/, /^501 GET .*\/schedule-count$/] });

  await report.check('many workflows are terminated at once', async (page) => {
    for (const workflowId of crowd) await client.workflow.start('crowd', { taskQueue: 'nowhere', workflowId, args: [] });
    await page.goto(`/namespaces/default/workflows?query=${encodeURIComponent('WorkflowType="crowd"')}`);
    await page.getByRole('checkbox', { name: 'Select all Workflows' }).check({ force: true }); // its label covers it
    await page.getByRole('button', { name: `select all ${crowd.length} workflows` }).click();
    await page.getByRole('main').getByRole('button', { name: 'Terminate' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('textbox', { name: 'Reason' }).fill('closing time');
    await dialog.getByRole('button', { name: 'Terminate' }).click();
    await shows(page.locator('body'), 'The batch terminate request is processing in the background.');
    for (const id of crowd) {
      await until(async () => {
        const last = (await history(client, id)).at(-1).workflowExecutionTerminatedEventAttributes;
        assert.equal(last?.reason, 'closing time');
      });
    }
  });

  await report.check('batch operations are listed and described', async (page) => {
    await page.goto('/namespaces/default/batch-operations');
    const row = page.getByRole('row', { name: /Terminate Workflows/ });
    await shows(row, /^Completed /);
    await row.getByRole('link').click();
    await shows(page.getByRole('main'), /Reason closing time .*100% complete 3 \/ 3 3 succeeded 0 failed/);
  });

  await report.check('archival is not there', async (page) => {
    await page.goto('/namespaces/default/archival');
    await shows(page.getByRole('main'), 'not enabled for archival');
  });

  await report.check('a history is looked at from a file', async (page) => {
    const run = (await pathOf(client, book, 'run')).split('/').at(-2);
    const file = await page.request.get(
      `/api/v1/namespaces/default/workflows/${encodeURIComponent(book)}/run/${run}/history.json`,
    );
    const buffer = await file.body();
    await page.goto('/import/events');
    const chosen = { name: 'history.json', mimeType: 'application/json', buffer };
    await page.locator('input[type=file]').setInputFiles(chosen);
    await page.getByRole('button', { name: 'Import' }).click();
    await shows(page.getByRole('main'), /Workflow Execution Completed/);
  });
}
