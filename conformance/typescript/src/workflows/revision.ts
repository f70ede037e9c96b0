/**
 * Which state of the code this is. Tests deploy a later one by changing this text in the bundle, so that workers with
 * different code can take turns at one workflow.
 */
export const revision: string = 'revision-1';

export function atLeast(wanted: number): boolean {
  return Number(revision.split('-')[1]) >= wanted;
}
