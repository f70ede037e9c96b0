// The workflows that the test looks at. The worker runs them in its sandbox.
import {
  ApplicationFailure,
  condition,
  defineQuery,
  defineSignal,
  defineUpdate,
  ParentClosePolicy,
  proxyActivities,
  setHandler,
  sleep,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';

const { compose } = proxyActivities({ startToCloseTimeout: '10s' });
// Not done before its workflow is: the test wants to see it pending.
const { linger } = proxyActivities({ startToCloseTimeout: '1h', heartbeatTimeout: '1h' });

const greet = defineSignal('greet');
const close = defineSignal('close');
const entriesSoFar = defineQuery('entries');
const entryNumber = defineQuery('entry');
const changeSalutation = defineUpdate('changeSalutation');

/**
 * Greets whom it hears of until it is told to close, and says what it has written. Meanwhile a child has come and gone,
 * and an activity and a timer are under way.
 */
export async function greeting({ salutation, names }) {
  const waiting = [...names];
  const entries = [];
  let closing = false;

  setHandler(greet, (name) => void waiting.push(name), { description: 'Greets one more guest' });
  setHandler(close, () => void (closing = true), { description: 'Closes the book' });
  setHandler(entriesSoFar, () => entries, { description: 'All entries so far' });
  setHandler(entryNumber, (number) => entries[number - 1] ?? `no entry ${number}`, {
    description: 'The entry of this number, from 1',
  });
  setHandler(
    changeSalutation,
    (next) => {
      const before = salutation;
      salutation = next;
      return `was ${before}`;
    },
    {
      description: 'Sets the salutation, answers with the one before',
      validator: (next) => {
        if (next === '') throw ApplicationFailure.create({ message: 'a salutation cannot be blank' });
      },
    },
  );

  const write = async () => {
    for (;;) {
      await condition(() => waiting.length > 0 || closing);
      const name = waiting.shift();
      if (name === undefined) return entries;
      entries.push(await compose(salutation, name));
    }
  };

  const child = await startChild(echo, {
    args: ['a child was here'],
    workflowId: `${workflowInfo().workflowId}-child`,
    parentClosePolicy: ParentClosePolicy.ABANDON,
  });
  entries.push(await child.result());
  return await Promise.race([write(), linger(), sleep('1h')]);
}

/** Answers with what it is given. */
export async function echo(said) {
  return said;
}

/** Fails with what it is given. */
export async function fail(message) {
  throw ApplicationFailure.create({ message, type: 'AsAsked', nonRetryable: true });
}
