// See a workflow, its history and its messages in the web UI, and act on it from there.
//
//   node main.js SERVER_BINARY SCREENSHOT_DIRECTORY
//
// The server's own client is the witness: what was done in the browser must be in the history, and the other way round.
// Exit status: 0 all as expected, 1 a check failed, 2 the test could not be run.
import { Report } from './report.js';
import { startBrowser, startServer, startWorker } from './rig.js';
import { act } from './act.js';
import { look } from './look.js';
import { roam } from './roam.js';
import { startAll } from './story.js';

const [binary, screenshots] = process.argv.slice(2);
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(2));
const stops = [];
let status = 2;
try {
  const server = await startServer(binary);
  stops.push(server.stop);
  const [worker, browser] = await Promise.all([
    startWorker(server.address, 'guests'),
    startBrowser(process.env.CHROMIUM ?? '/usr/bin/chromium', server.ui),
  ]);
  stops.push(worker.stop, browser.stop);
  await startAll(worker.client);
  const report = new Report(browser, screenshots);
  await look(report, worker.client);
  await act(report, worker.client);
  await roam(report, worker.client);
  console.log(`${report.passed} passed, ${report.failed} failed`);
  status = report.failed === 0 ? 0 : 1;
} catch (err) {
  console.error(err);
}
for (const stop of stops.reverse()) {
  try {
    await stop();
  } catch (err) {
    console.error(err);
    status = 2;
  }
}
process.exit(status); // the SDK's runtime would keep the process
