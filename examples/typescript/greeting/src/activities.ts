import { activityInfo } from '@temporalio/activity';

/** What an activity needs to greet someone. One object, so that fields can be added later. */
export interface Guest {
  salutation: string;
  name: string;
}

export async function compose(guest: Guest): Promise<string> {
  return `${guest.salutation}, ${guest.name}!`;
}

/** The export named default runs for every activity type that nothing else is registered for. */
export default async function anyActivity(guest: Guest): Promise<string> {
  return `${activityInfo().activityType} of ${guest.name}`;
}
