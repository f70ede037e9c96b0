import { temporal } from '@temporalio/proto';

export type HistoryEvent = temporal.api.history.v1.IHistoryEvent;
type Attributes = Record<string, unknown>;

/** The type of an event in the words of the documentation, such as WorkflowTaskScheduled. */
export function typeOf(event: HistoryEvent): string {
  const name = temporal.api.enums.v1.EventType[event.eventType ?? 0] ?? '';
  return name
    .replace('EVENT_TYPE_', '')
    .split('_')
    .map((word) => word.slice(0, 1) + word.slice(1).toLowerCase())
    .join('');
}

/** What an event says, whatever its type. */
export function attributesOf(event: HistoryEvent): Attributes {
  const entry = Object.entries(event).find(([key, value]) => key.endsWith('EventAttributes') && value != null);
  return (entry?.[1] ?? {}) as Attributes;
}

const CLOSING = new Set(
  ['Completed', 'Failed', 'TimedOut', 'Canceled', 'Terminated', 'ContinuedAsNew'].map(
    (end) => `WorkflowExecution${end}`,
  ),
);

/** Ends of things that end once: the event type, the field that says which, and the type of the event it points to. */
const ENDS: [type: RegExp, field: string, opened: string][] = [
  [/^WorkflowTask(Completed|Failed|TimedOut)$/, 'scheduledEventId', 'WorkflowTaskScheduled'],
  [/^ActivityTask(Completed|Failed|TimedOut|Canceled)$/, 'scheduledEventId', 'ActivityTaskScheduled'],
  [/^Timer(Fired|Canceled)$/, 'startedEventId', 'TimerStarted'],
  [
    /^ChildWorkflowExecution(Completed|Failed|TimedOut|Canceled|Terminated)$/,
    'startedEventId',
    'ChildWorkflowExecutionStarted',
  ],
  [
    /^(ExternalWorkflowExecutionSignaled|SignalExternalWorkflowExecutionFailed)$/,
    'initiatedEventId',
    'SignalExternalWorkflowExecutionInitiated',
  ],
  [
    /^(ExternalWorkflowExecutionCancelRequested|RequestCancelExternalWorkflowExecutionFailed)$/,
    'initiatedEventId',
    'RequestCancelExternalWorkflowExecutionInitiated',
  ],
  [/^WorkflowExecutionUpdateCompleted$/, 'acceptedEventId', 'WorkflowExecutionUpdateAccepted'],
];

/**
 * Says what cannot be true of the history of one run, whatever the server; nothing for a legal one. An open run, and a
 * closed one too, may have unfinished business, but no second outcome of anything.
 */
export function judge(history: HistoryEvent[]): string[] {
  const faults: string[] = [];
  const types = history.map(typeOf);
  const happened = new Set<string>();
  const once = (id: number, what: string) => {
    if (happened.has(what)) faults.push(`event ${id}: ${what}, for the second time`);
    happened.add(what);
  };
  history.forEach((event, place) => {
    const [id, type, attributes] = [Number(event.eventId), types[place]!, attributesOf(event)];
    if (id !== place + 1) faults.push(`event ${id} stands at place ${place + 1}`);
    if ((type === 'WorkflowExecutionStarted') !== (place === 0))
      faults.push(`event ${id}: ${type} at place ${place + 1}`);
    if (CLOSING.has(type) && place !== history.length - 1) faults.push(`event ${id}: ${type} is not the last event`);
    if (type === 'WorkflowExecutionSignaled' && attributes.requestId)
      once(id, `signal request ${attributes.requestId}`);
    if (type === 'WorkflowExecutionUpdateAccepted') once(id, `acceptance of update ${attributes.protocolInstanceId}`);
    for (const [ends, field, opened] of ENDS) {
      if (!ends.test(type)) continue;
      const opening = Number(attributes[field]);
      if (types[opening - 1] !== opened || opening >= id)
        faults.push(`event ${id}: ${type} points to event ${opening}`);
      once(id, `end of ${opened} ${opening}`);
    }
  });
  if (history.length === 0) faults.push('the history is empty');
  return faults;
}

/** The run that a closed run was continued by, if any. */
export function successor(history: HistoryEvent[]): string | undefined {
  const last = history.at(-1);
  return (last && (attributesOf(last).newExecutionRunId as string)) || undefined;
}

/** Whether the run of a history has ended. */
export function closed(history: HistoryEvent[]): boolean {
  const last = history.at(-1);
  return last !== undefined && CLOSING.has(typeOf(last));
}
