// What the test needs around it: a server, a worker, and a browser that complains.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Context } from '@temporalio/activity';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, makeTelemetryFilterString, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { chromium } from 'playwright-core';

/** Starts a development server with its data in memory, on ports that are free. */
export async function startServer(binary) {
  const args = 'server start-dev --port 0 --namespace second --search-attribute Mood=Keyword'.split(' ');
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  process.once('exit', () => child.kill()); // whatever ends the test
  const ended = once(child, 'exit'); // rejects if the binary cannot be run
  const told = new Promise((resolve) => {
    let text = '';
    child.stdout.on('data', (chunk) => (text += chunk).includes('\n') && resolve(text));
  });
  const said = await Promise.race([
    told,
    ended.then(([code]) => Promise.reject(new Error(`the server ended with status ${code}`))),
  ]);
  const address = /gRPC on ([^\s,]+)/.exec(said)?.[1];
  const ui = /web UI on (http:[^\s,]+)/.exec(said)?.[1];
  if (!address || !ui) {
    child.kill();
    throw new Error(`the server did not say where it is: ${said}`);
  }
  return {
    address,
    ui,
    async stop() {
      child.kill();
      const [code] = await ended;
      if (code !== 0) throw new Error(`the server ended with status ${code}`);
    },
  };
}

/** Runs the workflows of workflows.js on the task queue until it is stopped. */
export async function startWorker(address, taskQueue) {
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    shutdownSignals: [],
    // Activities of workflows that were terminated end in vain, which is worth a warning to the SDK.
    telemetryOptions: { logging: { filter: makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' }) } },
  });
  const connection = await NativeConnection.connect({ address });
  const worker = await Worker.create({
    connection,
    taskQueue,
    identity: 'the-worker',
    workflowsPath: fileURLToPath(new URL('workflows.js', import.meta.url)),
    activities: {
      compose: async (salutation, name) => `${salutation}, ${name}!`,
      linger: async () => {
        Context.current().heartbeat({ page: 7 });
        await Context.current().cancelled;
      },
    },
  });
  const stopped = worker.run();
  stopped.catch(() => {}); // told by stop
  const client = new Client({ connection: await Connection.connect({ address }) });
  return {
    client,
    async stop() {
      worker.shutdown();
      await stopped;
      await client.connection.close();
      await connection.close();
    },
  };
}

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Opens a browser with one page at the UI. complaints collects, as text, what nobody should have to see. */
export async function startBrowser(executablePath, ui) {
  const browser = await chromium.launch({ executablePath, args: flags });
  const context = await browser.newContext({ baseURL: ui, viewport: { width: 1400, height: 1000 }, timezoneId: 'UTC' });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);

  const complaints = [];
  const complain = (text) => void complaints.push(text);
  // Not as an init script: that would run in the frames of notes too, which rightly run none.
  page.on('domcontentloaded', () => page.evaluate(watchToasts).catch((err) => complain(`not watched: ${err.message}`)));
  page.on('pageerror', (err) => complain(`uncaught: ${err.message}`));
  page.on('console', (message) => {
    // What the browser says of a failed request is told below, with more to it.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource:')) {
      complain(`console: ${message.text()}`);
    }
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.protocol.startsWith('http') && url.origin !== ui) complain(`asked elsewhere: ${request.url()}`);
  });
  page.on('response', (response) => {
    const { pathname } = new URL(response.url());
    if (response.status() >= 400) complain(`${response.status()} ${response.request().method()} ${pathname}`);
  });
  page.on('requestfailed', (request) => {
    const why = request.failure().errorText;
    if (why !== 'net::ERR_ABORTED') complain(`${why}: ${request.url()}`); // a page that is left aborts its long polls
  });
  return { page, complaints, stop: () => browser.close() };
}

/** Runs in the page. Error toasts are the UI's assertive announcements, and gone after three seconds. */
function watchToasts() {
  const region = '[data-testid="toast-live-region-assertive"]';
  new MutationObserver((records) => {
    for (const record of records) {
      if (!record.target.closest?.(region)) continue;
      for (const node of record.addedNodes) console.error(`error toast: ${node.textContent}`);
    }
  }).observe(document, { childList: true, subtree: true });
}
