import assert from 'node:assert/strict';
import { test } from 'node:test';
import { idle, only, proof, types } from './rig';
import { courier, sender, stubborn, type Errand } from './workflows/external';
import { finish, notebook, porter } from './workflows/signals';

const NOT_FOUND = 'Unable to signal external workflow because it was not found';
const CANNOT_CANCEL = 'Unable to cancel external workflow because not found';

export function external(): void {
  test('M044 an external signal leaves two events with its sender, whom the target knows', proof(async (rig) => {
    await rig.work();
    const target = await rig.start(notebook, []);
    const errand = await rig.start(courier, [[{ what: 'signal', workflowId: target.workflowId }]]);
    assert.deepEqual(await errand.result(), ['done']);
    assert.deepEqual(await types(errand), [
      '1 WorkflowExecutionStarted',
      '2 WorkflowTaskScheduled',
      '3 WorkflowTaskStarted',
      '4 WorkflowTaskCompleted',
      '5 SignalExternalWorkflowExecutionInitiated',
      '6 ExternalWorkflowExecutionSignaled',
      '7 WorkflowTaskScheduled',
      '8 WorkflowTaskStarted',
      '9 WorkflowTaskCompleted',
      '10 WorkflowExecutionCompleted',
    ]);
    await target.signal(finish);
    await target.result();
    const [signaled] = await only(target, 'WorkflowExecutionSignaled');
    assert.equal(signaled!.identity, 'history-service');
    assert.equal(signaled!.externalWorkflowExecution.workflowId, errand.workflowId);
    assert.equal(signaled!.externalWorkflowExecution.runId, errand.firstExecutionRunId);
  }));

  test('M046 M047 signals to unknown and closed workflows and to oneself find nobody', proof(async (rig) => {
    await rig.work();
    const closed = await rig.start(notebook, []);
    await closed.signal(finish);
    await closed.result();
    const errands: Errand[] = [
      { what: 'signal', workflowId: rig.id('nobody') },
      { what: 'signal', workflowId: closed.workflowId },
      { what: 'signal', workflowId: '' },
    ];
    const errand = await rig.start(courier, [errands]);
    assert.deepEqual(await errand.result(), [NOT_FOUND, NOT_FOUND, NOT_FOUND]);
    const failed = await only(errand, 'SignalExternalWorkflowExecutionFailed');
    const causes = failed.map((event) => [event.cause, Number(event.workflowTaskCompletedEventId)]);
    assert.deepEqual(causes, [[1, 0], [1, 0], [1, 0]]);
    assert.equal((await only(errand, 'WorkflowExecutionSignaled')).length, 0);
    assert.equal((await only(closed, 'WorkflowExecutionSignaled')).length, 1);
  }));

  test('M058 headers arrive with signals to external workflows and to children', proof(async (rig) => {

    await rig.work();
    const bearer = await rig.start(porter, [1]);
    await rig.start(courier, [[{ what: 'signal', workflowId: bearer.workflowId }]]);
    assert.deepEqual(await bearer.result(), ['signal note: from courier']);
    const parent = await rig.start(sender, []);
    assert.deepEqual(await parent.result(), ['signal note: from sender', 'signal note: from sender']);
  }));

  test('M065 cancelling a closed or cancelling workflow succeeds and adds nothing to it', proof(async (rig) => {
    await rig.work();
    const closed = await rig.start(notebook, []);
    await closed.signal(finish);
    await closed.result();
    const target = await rig.start(stubborn, []);
    await target.cancel();
    await idle(target);
    const before = [await types(closed), await types(target)];
    const errands: Errand[] = [
      { what: 'cancel', workflowId: closed.workflowId },
      { what: 'cancel', workflowId: target.workflowId },
    ];
    const errand = await rig.start(courier, [errands]);
    assert.deepEqual(await errand.result(), ['done', 'done']);
    assert.equal((await only(errand, 'ExternalWorkflowExecutionCancelRequested')).length, 2);
    assert.deepEqual([await types(closed), await types(target)], before);
    await target.signal(finish);
    assert.equal(await target.result(), 'never mind');
  }));

  test('M066 cancelling an unknown workflow, or oneself, finds nobody', proof(async (rig) => {
    await rig.work();
    const errands: Errand[] = [
      { what: 'cancel', workflowId: rig.id('nobody') },
      { what: 'cancel', workflowId: '' },
    ];
    const errand = await rig.start(courier, [errands]);
    assert.deepEqual(await errand.result(), [CANNOT_CANCEL, CANNOT_CANCEL]);
    const failed = await only(errand, 'RequestCancelExternalWorkflowExecutionFailed');
    assert.deepEqual(failed.map((event) => event.cause), [1, 1]);
    assert.equal((await only(errand, 'WorkflowExecutionCancelRequested')).length, 0);
  }));
}
