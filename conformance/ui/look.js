// Looking: the list of workflows, and all there is to see of one.
import { strict as assert } from 'node:assert';
import { book, count, echoed, failed, history, pathOf, shows, toCancel, toTerminate } from './story.js';

const list = '/namespaces/default/workflows';
const rows = (page) => page.getByTestId('workflows-summary-configurable-table-row');
const row = (page, id) => rows(page).filter({ has: page.getByRole('link', { name: id, exact: true }) });
const tab = (page, name) => page.getByRole('tab', { name });
const events = (page) => page.getByTestId('event-summary-row');

export async function look(report, client) {
  await report.check('the list shows all workflows and counts them', async (page) => {
    await page.goto('/');
    await page.waitForURL(`**${list}`);
    await count(rows(page), 8); // five, and three children
    await shows(page.getByRole('heading', { level: 1 }), '8 Workflows');
    for (const text of ['3 Running', '4 Completed', '1 Failed']) await shows(page.getByRole('main'), text);
    await shows(row(page, book), /Running the book\/1 [-0-9a-f]{36} greeting /);
    await shows(row(page, failed), /Failed bound to fail .* fail .* UTC .* UTC/);
    await shows(row(page, `${book}-child`), /Completed the book\/1-child .* echo/);
  });

  await report.check('a count filters by status', async (page) => {
    await page.getByRole('button', { name: '1 Failed' }).click();
    await count(rows(page), 1);
    await shows(rows(page), failed);
  });

  await report.check('a query finds by type and by search attribute', async (page) => {
    await page.goto(list);
    await ask(page, `WorkflowType = "greeting" AND Mood = "glad"`);
    await count(rows(page), 1);
    await shows(rows(page), book);
    await shows(page.getByRole('heading', { level: 1 }), '1 Workflow');
  });

  await report.check('a query finds nothing', async (page) => {
    await page.goto(list);
    await ask(page, `WorkflowType = "nobody"`);
    await shows(page.getByRole('main'), /No Workflows/);
    await shows(page.getByRole('heading', { level: 1 }), '0 Workflows');
  });

  await report.check(
    'a query that is none is explained',
    async (page) => {
      await page.goto(list);
      await ask(page, `WorkflowType greeting`);
      await shows(page.getByRole('main'), /Error Filtering Workflows .*syntax error.* near 'greeting'/);
    },
    { complaints: [/^400 GET .*\/workflows$/, /^400 GET .*\/workflow-count$/, /^console: Initial count fetch failed/] },
  );

  await report.check('a click opens the timeline', async (page) => {
    await page.goto(list);
    await row(page, book).getByRole('link', { name: book, exact: true }).click();
    await page.waitForURL('**/timeline');
    await shows(page.getByTestId('workflow-id-heading'), book);
    const known = await history(client, book);
    await shows(tab(page, 'Event History'), `Event History ${known.length}`);
    await shows(tab(page, 'Relationships'), 'Relationships 1');
    await shows(tab(page, 'Pending Activities'), 'Pending Activities 1');
    const timeline = ['Event echo: Completed', 'Event compose: Completed', /Event linger: /, /Event .*\(1h\): Started/];
    for (const name of timeline) {
      await page.getByRole('button', { name }).first().waitFor();
    }
    for (const text of ['guests', 'greeting', 'Typescript']) await shows(page.getByRole('main'), text);
    await shows(page.getByRole('textbox', { name: 'Input' }), /"Hello".*"Ada".*"Grace"/);
  });

  await report.check('the history is read in both orders', async (page) => {
    await tab(page, 'Event History').click();
    const known = await history(client, book);
    const newest = known.length;
    await count(events(page), newest);
    await shows(events(page).first(), `${newest} `);
    await page.getByRole('button', { name: 'Descending' }).click();
    await shows(events(page).first(), /^1 .*Workflow Execution Started/);
    for (const name of ['Timer Started', 'Activity Task Scheduled', 'Start Child Workflow Execution Initiated']) {
      await events(page).filter({ hasText: name }).first().waitFor();
    }
  });

  await report.check('an event is expanded', async (page) => {
    const scheduled = events(page).filter({ hasText: 'Activity Task Scheduled' }).filter({ hasText: 'linger' });
    await scheduled.getByRole('button', { name: 'Expand details' }).click();
    await shows(page.getByRole('main'), /Started linger .* 14 Activity Task Scheduled .* Heartbeat Timeout 1 hour/);
  });

  await report.check('an event has its page', async (page) => {
    await events(page).first().getByRole('link', { name: '1', exact: true }).click();
    await page.waitForURL('**/history/events/1');
    await shows(page.getByRole('main'), /1 Workflow Execution Started .*Workflow Task Timeout 10 seconds .*"shelf"/);
    await count(events(page), 1);
  });

  await report.check('the history is compacted', async (page) => {
    await page.goto(await pathOf(client, book, 'history'));
    await page.getByTestId('compact').click();
    await shows(page.getByRole('main'), /Timer .*linger .*"Hello, Grace!" .*"Hello, Ada!" .*echo .*"a child was here"/);
  });

  await report.check('the history is JSON', async (page) => {
    await page.getByTestId('json').click();
    await shows(page.getByRole('main'), '"eventType": "WorkflowExecutionStarted"');
  });

  await report.check('the history is downloaded', async (page) => {
    await page.getByTestId('feed').click(); // the UI remembers the view for all runs
    await page.getByTestId('download').click();
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('dialog').getByRole('button', { name: 'Download' }).click(),
    ]);
    let text = '';
    for await (const chunk of await download.createReadStream()) text += chunk;
    const got = JSON.parse(text);
    const known = await history(client, book);
    assert.equal((got.events ?? got).length, known.length);
  });

  await report.check('relatives are shown', async (page) => {
    await tab(page, 'Relationships').click();
    await page.getByRole('button', { name: /-child: Completed/ }).waitFor();
    await shows(page.getByRole('main'), /Child Count 1 .*Completed echo the book\/1-child 0 /);
  });

  await report.check('workers are shown', async (page) => {
    await tab(page, 'Workers').click();
    const poller = page.getByRole('table', { name: 'Pollers' }).getByRole('row').nth(1);
    await shows(poller, 'the-worker');
    await count(poller.getByRole('img', { name: 'Yes' }), 2);
    await count(poller.getByRole('img', { name: 'No' }), 1);
  });

  await report.check('a pending activity is shown', async (page) => {
    await tab(page, 'Pending Activities').click();
    await shows(page.getByRole('main'), /Started linger .*Attempt 1 \/ Unlimited.*Last Worker Identity the-worker/);
    await shows(page.getByRole('textbox', { name: 'Heartbeat Details' }), '"page": 7');
    // What is not served is not offered.
    for (const name of ['Pause', 'Update', 'Reset']) await count(page.getByRole('button', { name, exact: true }), 0);
  });

  await report.check('the call stack is shown', async (page) => {
    await tab(page, 'Call Stack').click();
    await shows(page.getByRole('textbox', { name: 'Call Stack' }), /at (async )?greeting .*workflows\.js/);
  });

  await report.check('a query is answered', async (page) => {
    await tab(page, 'Queries').click();
    await page.getByRole('button', { name: 'entries' }).click();
    await page.getByRole('option', { name: 'entry The entry of this number, from 1' }).click();
    await page.getByRole('textbox', { name: 'Query Arg' }).fill('3');
    await page.getByRole('button', { name: 'Run Query' }).click();
    await shows(page.getByRole('textbox', { name: 'Query Result' }), 'Hello, Grace!');
  });

  await report.check('summary and details are shown', async (page) => {
    await tab(page, 'User Metadata').click();
    const notes = page.locator('iframe');
    await count(notes, 3);
    await shows(notes.nth(0).contentFrame().locator('main'), 'Guests of the day');
    const details = notes.nth(1).contentFrame().locator('main');
    await shows(details, 'Everyone who came');
    await shows(details.locator('em'), 'came');
  });

  await report.check('memo and search attributes are shown', async (page) => {
    await tab(page, 'Memo').click();
    await shows(page.getByRole('textbox', { name: 'Memo' }), '"shelf": "third from the left"');
    await tab(page, 'Search Attributes').click();
    await shows(page.getByRole('textbox', { name: 'Search Attributes' }), /"Mood": \[ "glad" \]/);
  });

  await report.check('a child shows its parent', async (page) => {
    await page.goto(await pathOf(client, `${book}-child`, 'relationships'));
    await page.getByRole('button', { name: /the book.*1: Running/ }).waitFor();
  });

  await report.check('a failure is shown', async (page) => {
    await page.goto(await pathOf(client, failed, 'timeline'));
    await shows(page.getByRole('main'), 'Failed');
    await shows(page.getByRole('textbox', { name: 'Result' }), 'no luck today');
  });

  await report.check('a result is shown', async (page) => {
    await page.goto(await pathOf(client, echoed, 'timeline'));
    await shows(page.getByRole('textbox', { name: 'Result' }), 'tschüss');
  });
}

/** Asks the list a query in writing. */
async function ask(page, query) {
  await page.getByTestId('toggle-manual-query').click();
  await page.getByRole('searchbox', { name: 'Enter a query' }).fill(query);
  await page.getByRole('search').getByRole('button', { name: 'Search' }).click();
}
