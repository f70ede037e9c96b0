import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WorkflowFailedError } from '@temporalio/client';
import { ActivityFailure, ApplicationFailure } from '@temporalio/common';
import * as activities from './activities';
import { failure, only, proof, refusal, types, watch } from './rig';
import { errandBoy, hopeful, wellInformed } from './workflows/dynamic';
import { ledger } from './workflows/ledger';
import { finish, listen, log, note, notebook } from './workflows/signals';

const withDefault = { ...activities, default: activities.anyActivity };

export function dynamic(): void {
  test('M220 a handler of the very name goes before the default one, for all five kinds', proof(async (rig) => {
    await rig.work({ catchAll: true, activities: withDefault });
    const clerk = await rig.start(wellInformed, []);
    await clerk.signal(note, 'a');
    await clerk.signal('murmur', 'b', 'c');
    const heard = ['named note(a)', 'default murmur(b, c)'];
    assert.deepEqual(await clerk.query(log), heard);
    assert.equal(await clerk.query<string, [string]>('rumour', 'd'), 'default rumour(d)');
    assert.deepEqual(await clerk.executeUpdate(listen, { args: ['e'] }), ['named listen(e)']);
    assert.equal(await clerk.executeUpdate<string, [string]>('whisper', { args: ['f'] }), 'default whisper(f)');
    await clerk.signal(finish);
    assert.deepEqual(await clerk.result(), heard);

    const boy = await rig.start(errandBoy, []);
    assert.equal((await boy.result())[0], 'known');
    const other = await rig.start<(...args: string[]) => Promise<string>>('nameless', ['g', 'h']);
    assert.equal(await other.result(), 'any nameless(g, h)');
  }));

  test('M222 default workflows and activities, local ones too, see the type asked for', proof(async (rig) => {
    await rig.work({ catchAll: true, activities: withDefault });
    const boy = await rig.start(errandBoy, []);
    assert.deepEqual(await boy.result(), ['known', 'any unknown(remote)', 'known', 'any unknown(local)']);
    const other = await rig.start<() => Promise<string>>('Some Type', []);
    assert.equal(await other.result(), 'any Some Type()');
  }));

  test('default handlers get the real name, and no argument when there is none', proof(async (rig) => {
    await rig.work();
    const clerk = await rig.start(wellInformed, []);
    await clerk.signal('Ein Gerücht');
    assert.deepEqual(await clerk.query(log), ['default Ein Gerücht()']);
    assert.equal(await clerk.query('?'), 'default ?()');
    assert.equal(await clerk.executeUpdate<string, []>('!', {}), 'default !()');
  }));

  test('M223 unknown activities fail, are retried and list known ones; unknown workflows stay', proof(async (rig) => {
    rig.noReplay(); // nobody has the code of one of them
    await rig.work();
    const waiting = await rig.start(hopeful, []);
    const failed = await failure(waiting.result(), WorkflowFailedError);
    assert(failed.cause instanceof ActivityFailure && failed.cause.cause instanceof ApplicationFailure);
    const { type, message, nonRetryable } = failed.cause.cause;
    assert.deepEqual([type, nonRetryable], ['NotFoundError', false]);
    for (const known of ['unknown', 'echo', 'addToOwner']) assert(message.includes(known), message);
    const [started] = await only(waiting, 'ActivityTaskStarted');
    assert.equal(started!.attempt, 2);

    const stranger = await rig.start<() => Promise<void>>('stranger', [], { workflowTaskTimeout: '1s' });
    const { failure: reason } = await watch(stranger, 'WorkflowTaskFailed');
    assert.match(reason.message, /stranger/);
    assert.equal((await stranger.describe()).status.name, 'RUNNING');
  }));

  test('an unknown update is rejected by its name and leaves nothing in the history', proof(async (rig) => {
    await rig.work();
    const book = await rig.start(ledger, []);
    await book.query('items');
    const before = await types(book);
    assert.match(await refusal(book.executeUpdate('nonsense', {})), /nonsense/);
    assert.deepEqual(await types(book), before);
    const other = await rig.start(notebook, []);
    assert.match(await refusal(other.executeUpdate('nonsense', {})), /nonsense/);
  }));
}
