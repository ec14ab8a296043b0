/** Opens a page of the interface in a test, as a browser would. */
import { createMemoryHistory } from "@tanstack/react-router";
import { render } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { App, makeQueries, makeRouter } from "@/shell/App";
import { type Answers, answerWith } from "./answers";

/** Opens an address; returns the person's hands, the requests that were made, and where the browser is. */
export function open(path: string, answers: Answers = {}) {
  const asked = answerWith(answers);
  const queries = makeQueries();
  queries.setDefaultOptions({ queries: { ...queries.getDefaultOptions().queries, retry: false } });
  const router = makeRouter(queries, createMemoryHistory({ initialEntries: [path] }));
  const view = render(<App queries={queries} router={router} env="test" />);
  return { user: userEvent.setup(), asked, queries, view, address: () => router.state.location.href };
}
