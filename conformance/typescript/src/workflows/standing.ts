import { defineUpdate } from '@temporalio/workflow';

/** What updates added by a handler that stands before the main function runs. */
export const standing: string[] = [];
export const standingUpdate = defineUpdate<number, [item: string]>('standing');
