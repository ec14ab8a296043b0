/** What the browser has and jsdom lacks, and a clean page for every test. */
import "@testing-library/jest-dom/vitest";
import { cleanup, configure } from "@testing-library/react";
import { afterEach, vi } from "vitest";

// A page that is loaded for the first time takes seconds on a busy machine.
configure({ asyncUtilTimeout: 10_000 });

class NoObserver {
  observe() {}
  unobserve() {}
  disconnect() {}
}

vi.stubGlobal("ResizeObserver", NoObserver);
vi.stubGlobal("IntersectionObserver", NoObserver);
vi.stubGlobal("scrollTo", () => undefined);
window.HTMLElement.prototype.scrollIntoView = () => undefined;
Object.defineProperty(window, "matchMedia", {
  value: (query: string) => ({
    matches: false,
    media: query,
    onchange: null,
    addListener() {},
    removeListener() {},
    addEventListener() {},
    removeEventListener() {},
    dispatchEvent: () => false,
  }),
});
HTMLCanvasElement.prototype.getContext = () => null;
Object.defineProperty(document, "fonts", { value: { addEventListener() {}, removeEventListener() {} } });

// The whole page in every message hides what is missing.
configure({
  // The first test of a file loads the page that it opens.
  asyncUtilTimeout: 5000,
  getElementError: (message) => new Error((message ?? "").split("\n\nIgnored nodes")[0]),
});

afterEach(() => {
  cleanup();
  localStorage.clear();
  document.title = "";
});
