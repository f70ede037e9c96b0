import {
  CancellationScope,
  condition,
  getExternalWorkflowHandle,
  setHandler,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import { porter, finish, note } from './signals';

export interface Errand {
  what: 'signal' | 'cancel';
  /** The sender itself when empty. */
  workflowId: string;
  runId?: string;
}

/** Signals and cancels other workflows, one after the other; returns 'done' or the reason why not for each. */
export async function courier(errands: Errand[]): Promise<string[]> {
  const outcomes: string[] = [];
  for (const { what, workflowId, runId } of errands) {
    const target = getExternalWorkflowHandle(workflowId || workflowInfo().workflowId, runId);
    try {
      await (what === 'signal' ? target.signal(note, 'from a courier') : target.cancel());
      outcomes.push('done');
    } catch (err) {
      outcomes.push((err as Error).message);
    }
  }
  return outcomes;
}

/** Signals its child twice, and returns the baggage that arrived. */
export async function sender(): Promise<string[]> {
  const child = await startChild(porter, { args: [2] });
  await child.signal(note, 'by definition');
  await child.signal('note', 'by name');
  return child.result();
}

/** Goes on when it is asked to cancel, until it is told to finish. */
export async function stubborn(): Promise<string> {
  let finished = false;
  setHandler(finish, () => void (finished = true));
  await CancellationScope.nonCancellable(() => condition(() => finished));
  return 'never mind';
}
