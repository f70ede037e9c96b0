/**
 * Interceptors of all workflows. They write down the baggage that messages bring in their headers, and give some to the
 * signals that workflows send.
 */
import { defaultPayloadConverter, type Headers } from '@temporalio/common';
import { setHandler, workflowInfo, type WorkflowInterceptorsFactory } from '@temporalio/workflow';
import { standing, standingUpdate } from './standing';

export const BAGGAGE = 'baggage';

/** What came in with messages to this workflow: 'signal note: tea'. */
export const baggage: string[] = [];

function unpack(kind: string, name: string, headers: Headers): void {
  const payload = headers[BAGGAGE];
  if (payload) baggage.push(`${kind} ${name}: ${defaultPayloadConverter.fromPayload<string>(payload)}`);
}

export const interceptors: WorkflowInterceptorsFactory = () => {
  // The one place where code runs before the main function can: the nearest to a handler that belongs to the type.
  if (workflowInfo().workflowType === 'early') setHandler(standingUpdate, (item) => standing.push(item));
  return {
    inbound: [
      {
        async handleSignal(input, next) {
          unpack('signal', input.signalName, input.headers);
          return next(input);
        },
        async handleQuery(input, next) {
          unpack('query', input.queryName, input.headers);
          return next(input);
        },
        async handleUpdate(input, next) {
          unpack('update', input.name, input.headers);
          return next(input);
        },
      },
    ],
    outbound: [
      {
        async signalWorkflow(input, next) {
          const from = defaultPayloadConverter.toPayload(`from ${workflowInfo().workflowType}`);
          return next({ ...input, headers: { ...input.headers, [BAGGAGE]: from } });
        },
      },
    ],
  };
};
