/** The colour scheme: the person's choice, or that of the system. public/theme.js sets the same before the first paint. */
import { isMantineColorScheme, type MantineColorScheme, type MantineColorSchemeManager } from "@mantine/core";

const NAME = "waypost.theme";

/** Mantine calls the scheme of the system "auto". */
const toMantine = (value: string | null): MantineColorScheme =>
  isMantineColorScheme(value) && value !== "auto" ? value : "auto";

export const themeManager: MantineColorSchemeManager = {
  get: () => {
    try {
      return toMantine(localStorage.getItem(NAME));
    } catch {
      return "auto";
    }
  },
  set: (value) => {
    try {
      localStorage.setItem(NAME, value === "auto" ? "system" : value);
    } catch {
      // Without storage the choice lasts until the page is left.
    }
  },
  subscribe: (onUpdate) => {
    listener = (event) => {
      if (event.storageArea === localStorage && event.key === NAME) onUpdate(toMantine(event.newValue));
    };
    window.addEventListener("storage", listener);
  },
  unsubscribe: () => window.removeEventListener("storage", listener),
  clear: () => localStorage.removeItem(NAME),
};

let listener: (event: StorageEvent) => void = () => undefined;

/** The nonce of this page's policy for styles; the server puts a new one into every answer. */
export const styleNonce = (): string =>
  document.querySelector<HTMLMetaElement>("meta[property=csp-nonce]")?.nonce ?? "";
