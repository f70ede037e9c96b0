/** The workflow Basket, in TypeScript. */
import {
  ApplicationFailure,
  condition,
  defineQuery,
  defineSignal,
  defineUpdate,
  setHandler,
} from '@temporalio/workflow';

interface Goods {
  name: string;
  count: number;
  tags: string[];
}

class Contents {
  readonly lines: string[] = [];
  readonly goods: Record<string, number> = {};
  note: string | null = null;
  spilled?: ApplicationFailure;
  closed = false;

  constructor(readonly owner: string) {}

  put({ name, count, tags }: Goods): void {
    this.goods[name] = (this.goods[name] ?? 0) + count;
    this.lines.push(`put ${name} ${count} [${tags.join(' ')}]`);
  }

  take(name: string, count: number): { name: string; left: number } {
    const have = this.goods[name] ?? 0;
    if (have < count) {
      const details = [{ name, left: have }];
      throw ApplicationFailure.create({ message: `only ${have} of ${name}`, type: 'NotEnough', details });
    }
    this.goods[name] = have - count;
    return { name, left: have - count };
  }
}

function checkTake(_name: string, count: number): void {
  if (count > 0) return;
  throw ApplicationFailure.create({ message: `the count has to be positive, not ${count}`, type: 'BadCount' });
}

export async function Basket({ owner }: { owner: string }): Promise<{ owner: string; lines: string[] }> {
  const basket = new Contents(owner);
  const { lines, goods } = basket;

  setHandler(defineSignal('touch'), () => void lines.push('touch'));
  setHandler(defineSignal<[text: string]>('remark'), (text) => {
    basket.note = text;
    lines.push(`remark ${text}`);
  });
  setHandler(defineSignal<[goods: Goods]>('put'), (put) => basket.put(put));
  setHandler(defineSignal<[name: string, steps: number, left: boolean]>('move'), (name, steps, left) => {
    lines.push(`move ${name} ${steps} ${left}`);
  });
  setHandler(defineSignal<[where: string, height: number]>('spill'), (where, height) => {
    basket.spilled = ApplicationFailure.nonRetryable(`spilled ${where}`, 'Spilled', height);
  });
  setHandler(defineSignal('close'), () => void (basket.closed = true));

  setHandler(defineQuery<string[]>('lines'), () => lines);
  setHandler(defineQuery<boolean, [name: string, count: number]>('has'), (name, count) => (goods[name] ?? 0) >= count);
  setHandler(defineQuery('summary'), () => ({ owner, goods, note: basket.note }));
  setHandler(defineQuery<number>('weigh'), () => {
    throw new Error('the scale is broken');
  });

  setHandler(defineUpdate<unknown, [name: string, count: number]>('take'), (name, count) => basket.take(name, count), {
    validator: checkTake,
  });
  setHandler(defineUpdate<void, [goods: Goods]>('fill'), (put) => basket.put(put));
  setHandler(defineUpdate<string[], [count: number]>('wait_for_lines'), async (count) => {
    await condition(() => lines.length >= count);
    return lines;
  });

  await condition(() => basket.closed || basket.spilled !== undefined);
  if (basket.spilled) throw basket.spilled;
  return { owner, lines };
}
