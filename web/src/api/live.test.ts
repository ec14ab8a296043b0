/** The stream: opened for the first listener, shared by all, closed after the last. */
import { afterEach, expect, test, vi } from "vitest";
import { onChange } from "./live";

class Source extends EventTarget {
  static made: Source[] = [];
  closed = false;

  constructor(readonly url: string) {
    super();
    Source.made.push(this);
  }

  close() {
    this.closed = true;
  }
}

afterEach(() => {
  vi.unstubAllGlobals();
  Source.made = [];
});

test("listeners share one stream, which ends with the last of them", () => {
  vi.stubGlobal("EventSource", Source);
  const first = vi.fn();
  const second = vi.fn();
  const leaveFirst = onChange(first);
  const leaveSecond = onChange(second);
  expect(Source.made).toHaveLength(1);
  expect(Source.made[0]?.url).toMatch(/^\/v1\/stream/);
  Source.made[0]?.dispatchEvent(new Event("changed"));
  expect(first).toHaveBeenCalledOnce();
  leaveFirst();
  Source.made[0]?.dispatchEvent(new Event("changed"));
  expect(first).toHaveBeenCalledOnce();
  expect(second).toHaveBeenCalledTimes(2);
  leaveSecond();
  expect(Source.made[0]?.closed).toBe(true);
});
