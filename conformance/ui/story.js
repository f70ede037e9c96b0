// The workflows that the checks are about, and what they have in common.
import { strict as assert } from 'node:assert';

const taskQueue = 'guests';

/** IDs. That of the one that is looked at has what an ID may have: a slash and a space. */
export const book = 'the book/1';
export const toCancel = 'to be cancelled';
export const toTerminate = 'to be terminated';
export const failed = 'bound to fail';
export const echoed = 'an echo';

/** Starts all workflows and waits until each is where it stays. */
export async function startAll(client) {
  const start = (type, workflowId, arg, more) =>
    client.workflow.start(type, { taskQueue, workflowId, args: [arg], ...more });
  const open = [];
  for (const [id, name] of [[toTerminate, 'Tim'], [toCancel, 'Cyd'], [book, 'Ada']]) {
    open.push(
      await start('greeting', id, { salutation: 'Hello', names: [name, 'Grace'] }, id === book ? described : {}),
    );
  }
  await (await start('echo', echoed, { said: 'tschüss' })).result();
  await (await start('fail', failed, 'no luck today')).result().catch(() => {});
  for (const handle of open) {
    await until(async () => {
      const entries = await handle.query('entries');
      assert.equal(entries.length, 3);
      const { raw } = await handle.describe();
      assert.ok(raw.pendingActivities.some((a) => a.heartbeatDetails));
    });
  }
}

const described = {
  memo: { shelf: 'third from the left' },
  searchAttributes: { Mood: ['glad'] },
  staticSummary: 'Guests of the day',
  staticDetails: 'Everyone who *came*',
};

/** Waits until check does not throw. What it waits for is in the server, which tells by being asked. */
export async function until(check, limit = 20_000) {
  const end = Date.now() + limit;
  for (;;) {
    try {
      return await check();
    } catch (err) {
      if (Date.now() > end) throw err;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The events of a run, as the client sees them. */
export async function history(client, id) {
  const { events } = await client.workflow.getHandle(id).fetchHistory();
  return events;
}

/** The path of a run's page. */
export async function pathOf(client, id, tab) {
  const { runId } = await client.workflow.getHandle(id).describe();
  return `/namespaces/default/workflows/${encodeURIComponent(id)}/${runId}/${tab}`;
}

/** Waits until a locator shows text, a string or a pattern; letter case is the style sheet's affair. */
export async function shows(locator, text) {
  const pattern = new RegExp(text.source ?? text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&'), 'i');
  const wanted = (s) => pattern.test(s);
  let seen;
  try {
    await until(async () => assert.ok(wanted((seen = squeeze(await locator.innerText())))));
  } catch (err) {
    if (seen === undefined) throw err;
    throw new Error(`shows ${JSON.stringify(seen.slice(0, 2000))}, not ${text}`);
  }
}

/** Waits until there are as many of something. */
export async function count(locator, number) {
  let seen;
  try {
    await until(async () => assert.equal((seen = await locator.count()), number));
  } catch {
    throw new Error(`there are ${seen}, not ${number}: ${locator}`);
  }
}

const squeeze = (text) => text.replaceAll(/\s+/g, ' ').trim();
