// Acting: signal, update, cancel, terminate and start from the browser.
import { strict as assert } from 'node:assert';
import { book, count, history, pathOf, shows, toCancel, toTerminate } from './story.js';

const rows = (page) => page.getByTestId('event-summary-row');

export async function act(report, client) {
  await report.check('a signal is sent, and shows without a reload', async (page) => {
    await page.goto(await pathOf(client, book, 'history'));
    const dialog = await choose(page, 'Send a Signal');
    await pick(dialog, 'Select a signal', 'greet Greets one more guest');
    await dialog.getByRole('textbox', { name: 'Data' }).fill('"Edsger"');
    await dialog.getByRole('button', { name: 'Submit' }).click();
    const signaled = rows(page).filter({ hasText: 'Workflow Execution Signaled' });
    await shows(signaled, 'Signal Name greet');
    await signaled.getByRole('button', { name: 'Expand details' }).click();
    await shows(page.getByTestId('event-summary-row-expanded'), '"Edsger"');
    await shows(page.getByRole('main'), /Activity Task Completed .*"Hello, Edsger!"/);
  });

  await report.check('an update is sent, accepted and completed', async (page) => {
    const dialog = await choose(page, 'Send an Update');
    await pick(dialog, 'Select an update', 'changeSalutation Sets the salutation, answers with the one before');
    await dialog.getByRole('textbox', { name: 'Data' }).fill('"Welcome"');
    await dialog.getByRole('button', { name: 'Submit' }).click();
    await shows(rows(page).filter({ hasText: 'Workflow Execution Update Completed' }), /"was Hello"/);
    await count(rows(page).filter({ hasText: 'Workflow Execution Update Accepted' }), 1);
    await client.workflow.getHandle(book).signal('greet', 'Barbara'); // from elsewhere
    await shows(page.getByRole('main'), /Activity Task Completed .*"Welcome, Barbara!"/);
    const all = (await history(client, book)).length;
    await shows(page.getByRole('tab', { name: 'Event History' }), `Event History ${all}`);
  });

  await report.check('an update is rejected, and leaves no trace', async (page) => {
    const before = (await history(client, book)).length;
    const dialog = await choose(page, 'Send an Update');
    await pick(dialog, 'Select an update', /^changeSalutation/);
    await dialog.getByRole('textbox', { name: 'Data' }).fill('""');
    await dialog.getByRole('button', { name: 'Submit' }).click();
    await shows(page.locator('body'), 'a salutation cannot be blank');
    assert.equal((await history(client, book)).length, before);
  });

  await report.check('cancellation is requested', async (page) => {
    await page.goto(await pathOf(client, toCancel, 'history'));
    await page.getByRole('button', { name: 'Request Cancellation' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Confirm' }).click();
    await shows(page.getByRole('main').getByRole('status').first(), 'Canceled');
    await rows(page).filter({ hasText: 'Workflow Execution Cancel Requested' }).waitFor();
    await rows(page).filter({ hasText: /Workflow Execution Canceled/ }).waitFor();
  });

  await report.check('a workflow is terminated for a reason', async (page) => {
    await page.goto(await pathOf(client, toTerminate, 'history'));
    const dialog = await choose(page, 'Terminate');
    await dialog.getByRole('textbox').fill('enough is enough');
    await dialog.getByRole('button', { name: 'Terminate' }).click();
    await shows(page.getByRole('main').getByRole('status').first(), 'Terminated');
    await count(rows(page).filter({ hasText: 'Workflow Execution Terminated' }), 1);
    await shows(page.getByRole('textbox', { name: 'Result' }), '"reason": "enough is enough"');
    const last = (await history(client, toTerminate)).at(-1).workflowExecutionTerminatedEventAttributes;
    assert.equal(last.reason, 'enough is enough');
  });

  await report.check('a signal that takes nothing closes the book', async (page) => {
    await page.goto(await pathOf(client, book, 'timeline'));
    const dialog = await choose(page, 'Send a Signal');
    await pick(dialog, 'Select a signal', 'close Closes the book');
    await dialog.getByRole('button', { name: 'Submit' }).click();
    await shows(page.getByRole('main').getByRole('status').first(), 'Completed');
    await shows(page.getByRole('textbox', { name: 'Result' }), /"Hello, Ada!", .*"Welcome, Barbara!"/);
  });

  await report.check('a closed workflow takes no more', async (page) => {
    await page.goto(await pathOf(client, book, 'history'));
    await shows(page.getByRole('main').getByRole('status').first(), 'Completed');
    await count(page.getByRole('button', { name: 'Request Cancellation' }), 0);
  });

  await report.check('a closed workflow is queried', async (page) => {
    await page.goto(await pathOf(client, book, 'query'));
    await page.getByRole('button', { name: 'Run Query' }).click();
    await shows(page.getByRole('textbox', { name: 'Query Result' }), '"Welcome, Barbara!"');
  });

  await report.check('a workflow is started', async (page) => {
    await page.goto('/namespaces/default/workflows');
    await page.getByRole('link', { name: 'Start Workflow' }).click();
    await page.getByRole('textbox', { name: 'Workflow ID' }).fill('from the browser');
    await page.getByRole('textbox', { name: 'Task Queue' }).fill('guests');
    await page.getByRole('textbox', { name: 'Task Queue' }).press('Tab');
    await shows(page.getByRole('main'), 'Task Queue is Active 1 Worker'); // this moves the form
    await page.getByRole('textbox', { name: 'Workflow Type' }).fill('echo');
    await page.getByRole('textbox', { name: 'Data' }).fill('"hello"'); // what the UI leaves on one line moves nothing
    await page.getByRole('main').getByRole('button', { name: 'Start Workflow' }).click();
    await shows(page.locator('body'), 'Workflow started successfully');
    assert.equal(await client.workflow.getHandle('from the browser').result(), 'hello');
    await page.goto(await pathOf(client, 'from the browser', 'timeline'));
    await shows(page.getByRole('textbox', { name: 'Result' }), '"hello"');
  });
}

async function choose(page, action) {
  await page.getByRole('button', { name: 'More Actions' }).click();
  await page.getByRole('menuitem', { name: action, exact: true }).click();
  return page.getByRole('dialog');
}

async function pick(dialog, select, option) {
  await dialog.getByRole('button', { name: select }).click();
  await dialog.getByRole('option', { name: option }).click();
}
