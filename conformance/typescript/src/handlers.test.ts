import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WorkflowFailedError, WorkflowUpdateStage, type WorkflowHandle } from '@temporalio/client';
import { Worker } from '@temporalio/worker';
import { admitted, bundle, events, failure, idle, logged, only, proof, types, until } from './rig';
import {
  account,
  allFinished,
  closeRace,
  deposit,
  depositSignal,
  early,
  failFirst,
  failLast,
  failRace,
  hasty,
  hold,
  holdUpdate,
  patient,
  selfAware,
  topOfMain,
  whoAmI,
  whoAsks,
} from './workflows/handlers';
import { release } from './workflows/ledger';
import { finish, log, note } from './workflows/signals';
import { standingUpdate } from './workflows/standing';

/** The warnings about handlers that were busy when a workflow ended. */
function warnings(handle: WorkflowHandle): string[] {
  return logged
    .filter((entry) => entry.meta?.workflowId === handle.workflowId && entry.message.includes('still running'))
    .map((entry) => entry.message);
}

export function handlers(): void {
  test('M232 an update in the first task finds handlers from before main and from its top', proof(async (rig) => {
    const bird = await rig.start(early, []);
    const updates = [
      bird.executeUpdate(standingUpdate, { args: ['standing'], updateId: 'one' }),
      bird.executeUpdate(topOfMain, { args: ['top'], updateId: 'two' }),
    ];
    await admitted(bird, 'one');
    await admitted(bird, 'two');
    await rig.work();
    await Promise.all(updates);
    await bird.signal(finish);
    const order = await bird.result();
    assert.deepEqual([...order].sort(), ['main', 'standing', 'top']);
    assert(order.indexOf('standing') < order.indexOf('main'), order.join());
    const accepted = await only(bird, 'WorkflowExecutionUpdateAccepted');
    assert.deepEqual(accepted.map((event) => Number(event.acceptedRequestSequencingEventId)), [2, 2]);
  }));

  test('M234 handlers, validators and what they spawn know their update; nothing else does', proof(async (rig) => {
    await rig.work();
    const one = await rig.start(selfAware, []);
    await one.signal(note, 'hello');
    const ask = (id: string) => one.executeUpdate(whoAmI, { updateId: id, args: [`who_am_i ${id}`] });
    const answers = await Promise.all(['u1', 'u2', 'u3'].map(ask));
    assert.deepEqual(answers, ['u1', 'u2', 'u3'].map((id) => Array(3).fill(`who_am_i ${id}`)));
    assert.equal(await one.query(whoAsks), 'none');
    await one.signal(finish);
    assert.deepEqual(await one.result(), ['main: none', 'signal: none', 'signal, later: none', 'main, later: none']);
  }));

  test('M235 not all handlers are finished while one is busy, and waiting delays the return', proof(async (rig) => {
    await rig.work();
    const one = await rig.start(patient, []);
    assert.equal(await one.query(allFinished), true);
    await one.signal(hold, 'a');
    assert.equal(await one.query(allFinished), false);
    const update = await one.startUpdate(holdUpdate, { args: ['b'], waitForStage: WorkflowUpdateStage.ACCEPTED });
    await one.signal(release, 'a');
    assert.equal(await one.query(allFinished), false);
    await one.signal(finish);
    await idle(one);
    assert.equal((await one.describe()).status.name, 'RUNNING');
    await one.signal(release, 'b');
    assert.equal(await update.result(), false); // inside a handler they never are
    assert.equal(await one.result(), 'a b');
    assert.equal(await one.query(allFinished), true);
  }));

  test('M236 ending with busy handlers warns once a kind, but not when evicted or replayed', proof(async (rig) => {
    const crew = await rig.work();
    const ends = await Promise.all((['WARN_AND_ABANDON', 'ABANDON'] as const).map(async (policy) => {
      const one = await rig.start(hasty, [policy]);
      await one.signal(hold, 'a');
      await one.signal(hold, 'b');
      await one.startUpdate(holdUpdate, { args: ['c'], updateId: 'busy', waitForStage: WorkflowUpdateStage.ACCEPTED });
      await until('two signals held', async () => (await only(one, 'WorkflowExecutionSignaled')).length === 2);
      return one;
    }));
    await crew.stop(); // evicts both
    const [warning, silent] = [ends[0]!, ends[1]!];
    assert.deepEqual([warnings(warning), warnings(silent)], [[], []]);

    await rig.work();
    for (const one of ends) {
      await one.signal(finish);
      await one.result();
    }
    const said = await until('two warnings', () => warnings(warning).length >= 2 && warnings(warning));
    assert.equal(said.length, 2);
    assert.equal(said.filter((text) => text.includes('{"name":"hold_update","id":"busy"}')).length, 1);
    assert.equal(said.filter((text) => text.includes('{"name":"hold","count":2}')).length, 1);
    assert.deepEqual(warnings(silent), []);

    const history = { events: await events(warning) };
    await Worker.runReplayHistory({ workflowBundle: bundle({}) }, history, warning.workflowId);
    assert.equal(warnings(warning).length, 2);
  }));

  test('M237 an update that completes in one activation with main, after it, is answered', proof(async (rig) => {
    await rig.work();
    const race = await rig.start(closeRace, []);
    const update = await race.startUpdate(holdUpdate, { args: ['a'], waitForStage: WorkflowUpdateStage.ACCEPTED });
    await race.signal(finish);
    assert.equal(await update.result(), true);
    assert.equal(await race.result(), 'returned');
    const last = (await types(race)).slice(-3).map((event) => event.split(' ')[1]);
    assert.deepEqual(last, ['WorkflowTaskCompleted', 'WorkflowExecutionUpdateCompleted', 'WorkflowExecutionCompleted']);
  }));

  test('M238 of a failing signal handler and a returning main the first decides', proof(async (rig) => {
    await rig.work();
    const failed = await rig.start(failRace, []);
    await idle(failed);
    await failed.signal(failFirst);
    assert.match((await failure(failed.result(), WorkflowFailedError)).cause!.message, /failed by the signal/);
    const completed = await rig.start(failRace, []);
    await idle(completed);
    await completed.signal(failLast);
    assert.equal(await completed.result(), 'returned');
    for (const race of [failed, completed]) assert.equal((await only(race, 'WorkflowTaskCompleted')).length, 2);
  }));

  test('M239 a mutex lets handlers through one by one, and in the same order on replay', proof(async (rig) => {
    const first = await rig.work();
    const one = await rig.start(account, []);
    const amounts = [1, 2, 4, 8, 16, 32];
    const balances = await Promise.all(
      amounts.map((amount) =>
        amount < 8 ? one.executeUpdate(deposit, { args: [amount] }) : one.signal(depositSignal, amount),
      ),
    );
    const visits = await until('all through', async () => {
      const seen = await one.query(log);
      return seen.length === 2 * amounts.length && seen;
    });
    for (let i = 0; i < visits.length; i += 2) assert.equal(visits[i]!.replace('in', 'out'), visits[i + 1]);
    assert.equal(new Set(balances.filter((balance) => balance !== undefined)).size, 3);
    await first.stop();
    await rig.work();
    assert.deepEqual(await one.query(log), visits);
    await one.signal(finish);
    assert.equal(await one.result(), 63);
  }));
}
