import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QueryNotRegisteredError, type WorkflowHandle } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { failure, idle, interceptedClient, proof, types } from './rig';
import { BAGGAGE } from './workflows/headers';
import { broken, forecast, luggage, meddle, oracle, promised, questions, station, weather } from './workflows/queries';
import { finish, note } from './workflows/signals';

interface Metadata {
  definition: Record<string, unknown> & { type: string };
  currentDetails: string;
}

/** What a failed query says. This SDK has one error for all that the server answers with InvalidArgument. */
async function complaint(query: Promise<unknown>): Promise<string> {
  return (await failure(query, QueryNotRegisteredError)).message;
}

export function queries(): void {
  test('M096 a query of an unknown name fails and lists the known ones, built-in ones included', proof(async (rig) => {
    await rig.work();
    const post = await rig.start(station, []);
    const said = await complaint(post.query('tides'));
    assert.match(said, /tides/);
    for (const known of ['weather', 'forecast', '__stack_trace', '__temporal_workflow_metadata']) {
      assert(said.includes(known), `${known} is not in: ${said}`);
    }
  }));

  test('M099 a query does not wake what waits, even when it makes its condition true', proof(async (rig) => {
    await rig.work();
    const post = await rig.start(station, []);
    await idle(post);
    const before = await types(post);
    assert.equal(await post.query(meddle), true);
    // Had the main function gone on, it would say so, and would have returned.
    assert.equal(await post.query(weather), 'unknown');
    assert.deepEqual(await types(post), before);
    assert.equal((await post.describe()).status.name, 'RUNNING');
  }));

  test('M100 the stack trace names the place that waits, of an idle and of a closed workflow', proof(async (rig) => {
    await rig.work();
    const post = await rig.start(station, []);
    await idle(post);
    const open = await post.query<string>('__stack_trace');
    assert.match(open, /station/);
    assert.match(open, /keepWatch/);
    await post.signal(finish);
    await post.result();
    const closed = await post.query<string>('__stack_trace');
    assert.match(closed, /keepWatch/);
  }));

  test('the metadata of a workflow names its handlers with descriptions, and what it is at', proof(async (rig) => {
    await rig.work();
    const post = await rig.start(station, []);
    const { definition, currentDetails } = await post.query<Metadata>('__temporal_workflow_metadata');
    assert.equal(definition.type, 'station');
    assert.equal(currentDetails, 'on the roof');
    assert.deepEqual(definition.signalDefinitions, [
      { name: 'note', description: 'A look out of the window' },
      { name: 'finish' },
    ]);
    assert.deepEqual(definition.updateDefinitions, []);
    const named = (definition.queryDefinitions as { name: string }[]).filter(({ name }) => name === 'weather');
    assert.deepEqual(named, [{ name: 'weather', description: 'The weather of now' }]);
  }));

  test('M102 the default query handler does not see the names of built-in queries', proof(async (rig) => {
    await rig.work();
    const sage = await rig.start(oracle, []);
    assert.equal(await sage.query<string, [string, number]>('fate', 'of', 1), 'fate(of, 1)');
    assert.match(await sage.query('__stack_trace'), /oracle/);
    assert.equal((await sage.query<Metadata>('__temporal_workflow_metadata')).definition.type, 'oracle');
    assert.deepEqual(await sage.query(questions), ['fate']);
  }));

  test('M103 a query answered by replay on another worker gives the same answer as before', proof(async (rig) => {
    const first = await rig.work();
    const post = await rig.start(station, []);
    await post.signal(note, 'drizzle');
    await post.signal(note, 'fog');
    const ask = async (handle: WorkflowHandle) => [await handle.query(weather), await handle.query(forecast, 'Sunday')];
    const before = await ask(post);
    assert.deepEqual(before, ['fog', 'Sunday as today: fog']);
    await first.stop();
    await rig.work();
    assert.deepEqual(await ask(post), before);
  }));

  test('M104 an error in a query handler fails the query, and the worker goes on', proof(async (rig) => {
    const crew = await rig.work();
    const post = await rig.start(station, []);
    await idle(post);
    const before = await types(post);
    assert.match(await complaint(post.query(broken)), /the barometer is broken/);
    assert.match(await complaint(post.query(promised)), /should not return a Promise/);
    assert.equal(await post.query(weather), 'unknown');
    assert.equal(crew.worker.getState(), 'RUNNING');
    assert.deepEqual(await types(post), before);
  }));

  test('a query without a deadline waits for the first task of a workflow that starts soon', proof(async (rig) => {
    await rig.work();
    const post = await rig.start(station, [], { startDelay: '1s' });
    assert.equal(await post.query(weather), 'unknown');
  }));

  test('M108 a header reaches the interceptor of the query', proof(async (rig) => {
    const tagging = interceptedClient({
      query: (input, next) => {
        const headers = { ...input.headers, [BAGGAGE]: defaultPayloadConverter.toPayload('an umbrella') };
        return next({ ...input, headers });
      },
    });
    await rig.work();
    const post = await rig.start(station, []);
    const answer = await tagging.workflow.getHandle(post.workflowId).query(luggage);
    assert.deepEqual(answer, ['query luggage: an umbrella']);
  }));
}
