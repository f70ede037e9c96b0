// The checks: each has a name, a time, a screenshot and its own verdict.
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';

export class Report {
  passed = 0;
  failed = 0;
  #number = 0;

  constructor({ page, complaints }, screenshots) {
    this.page = page;
    this.complaints = complaints;
    this.screenshots = screenshots;
    rmSync(screenshots, { recursive: true, force: true });
    mkdirSync(screenshots, { recursive: true });
  }

  /**
   * Runs one check and takes a screenshot at its end. It fails if the function throws or if the browser complained of
   * anything but exactly what `complaints` says, as patterns: what is known not to be there must be missing in the way
   * it is known for. Returns whether the check passed.
   */
  async check(name, body, { complaints = [] } = {}) {
    this.complaints.length = 0;
    const start = Date.now();
    const reasons = [];
    try {
      await body(this.page);
    } catch (err) {
      reasons.push(err.message.split('\n').slice(0, 8).join('\n'));
    }
    reasons.push(...(await this.#photograph(name)));
    const known = (text) => complaints.some((pattern) => pattern.test(text));
    reasons.push(...new Set(this.complaints.filter((text) => !known(text))));
    for (const pattern of complaints) {
      if (!this.complaints.some((text) => pattern.test(text))) reasons.push(`did not happen: ${pattern}`);
    }
    const took = `${((Date.now() - start) / 1000).toFixed(1)} s`;
    if (reasons.length === 0) {
      this.passed++;
      console.log(`ok   ${name} (${took})`);
      return true;
    }
    this.failed++;
    console.log(`FAIL ${name} (${took}): ${reasons.join('\n  ')}`);
    return false;
  }

  async #photograph(name) {
    const number = String(++this.#number).padStart(2, '0');
    const file = `${number}-${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}.png`;
    try {
      await this.page.screenshot({ path: path.join(this.screenshots, file), animations: 'disabled' });
      return [];
    } catch (err) {
      return [`no screenshot: ${err.message.split('\n')[0]}`];
    }
  }
}
