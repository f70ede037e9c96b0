/** Steps back for a number of microtasks, within the activation: others that are ready go first. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve();
}

/** Lets one caller in at a time, in the order they came. */
export class Mutex {
  private last: Promise<void> = Promise.resolve();

  async hold<T>(body: () => Promise<T>): Promise<T> {
    const before = this.last;
    let leave = () => {};
    this.last = new Promise((resolve) => (leave = resolve));
    await before;
    try {
      return await body();
    } finally {
      leave();
    }
  }
}
