/** Starts the interface. */
import "./shell/styles";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App, makeQueries, makeRouter } from "./shell/App";

const root = document.getElementById("root");
if (root) {
  const queries = makeQueries();
  createRoot(root).render(
    <StrictMode>
      <App queries={queries} router={makeRouter(queries)} />
    </StrictMode>,
  );
}
