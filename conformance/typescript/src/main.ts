/** Runs all tests against the server at PERDURE_ADDRESS, in one process: much quicker than one for each file. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { dynamic } from './dynamic.test';
import { external } from './external.test';
import { handlers } from './handlers.test';
import { queries } from './queries.test';
import { close, open, replayAll } from './rig';
import { signals } from './signals.test';
import { traffic } from './traffic.test';
import { updates } from './updates.test';

describe('the server, seen through the TypeScript SDK', () => {
  before(open);
  after(close);
  const together = { concurrency: 4 };
  describe('signals', together, signals);
  describe('signals and cancellations from workflows', together, external);
  describe('queries', together, queries);
  describe('updates', together, updates);
  describe('dynamic handlers', together, dynamic);
  describe('handlers', together, handlers);
  describe('traffic', { concurrency: 2 }, traffic);

  test('every history that these tests left behind replays', async (t) => {
    const { runs, faults } = await replayAll();
    t.diagnostic(`${runs} histories`);
    assert.deepEqual(faults, []);
    assert(runs > 0, 'there was none');
  });
});
