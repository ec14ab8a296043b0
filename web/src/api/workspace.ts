/** Which workspace this browser looks at. It is an id and no secret, so it may be stored. */

const NAME = "waypost.workspace";

function stored(): string | null {
  try {
    return localStorage.getItem(NAME);
  } catch {
    return null;
  }
}

let current = stored();

export function currentWorkspace(): string | null {
  return current;
}

export function chooseWorkspace(id: string | null): void {
  current = id;
  try {
    if (id === null) localStorage.removeItem(NAME);
    else localStorage.setItem(NAME, id);
  } catch {
    // Without storage the choice lasts until the page is left.
  }
}

/** Opens another workspace in a new document: nothing of the one before stays in memory. */
export function openWorkspace(id: string): void {
  chooseWorkspace(id);
  window.location.assign("/");
}
