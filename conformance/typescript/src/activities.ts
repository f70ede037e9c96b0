import { activityInfo, getClient } from '@temporalio/activity';
import { add } from './workflows/ledger';

export async function echo(text: string): Promise<string> {
  return text;
}

/** Updates the workflow that this activity belongs to, and returns the answer. */
export async function addToOwner(item: string): Promise<number> {
  const { workflowExecution } = activityInfo();
  return getClient()
    .workflow.getHandle(workflowExecution!.workflowId)
    .executeUpdate(add, { args: [item] });
}

/** What stands in for every activity that is not registered. */
export async function anyActivity(...args: string[]): Promise<string> {
  return `any ${activityInfo().activityType}(${args.join(', ')})`;
}
