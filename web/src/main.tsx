/** Starts the interface. */
import "./shell/styles";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App, makeQueries, makeRouter } from "./shell/App";
import { styleNonce } from "./shell/theme";

// The name under which libraries look for it, as the one that stops the page behind a dialog from scrolling.
Object.assign(globalThis, { __webpack_nonce__: styleNonce() });

const root = document.getElementById("root");
if (root) {
  const queries = makeQueries();
  createRoot(root).render(
    <StrictMode>
      <App queries={queries} router={makeRouter(queries)} />
    </StrictMode>,
  );
}
