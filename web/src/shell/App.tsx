/** The providers around everything, and the router. */
import { createTheme, MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createRouter, type RouterHistory, RouterProvider } from "@tanstack/react-router";
import { Problem } from "@/api/problem";
import { routeTree } from "@/routes";
import { t } from "./texts";
import { styleNonce, themeManager } from "./theme";

const theme = createTheme({
  cursorType: "pointer",
  // The focus shows itself by :focus-visible in base.css.
  focusRing: "never",
  primaryShade: { light: 8, dark: 8 },
  components: {
    // Its default name has "password" in it: the field would not be the only one that is labelled so.
    PasswordInput: { defaultProps: { visibilityToggleButtonProps: { "aria-label": t("showTyped") } } },
    // Its titles in the colour of the box would not reach 4.5 : 1.
    Alert: { styles: { title: { color: "var(--mantine-color-text)" } } },
    // The element that would get the focus first has no place in a menu: the first item gets it.
    Menu: { defaultProps: { shadow: "md", withInitialFocusPlaceholder: false } },
    Tooltip: { defaultProps: { withArrow: true, openDelay: 300, events: { hover: true, focus: true, touch: false } } },
  },
});

export function makeQueries(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 5_000,
        // A request that was refused is refused again.
        retry: (count, error) => count < 2 && (!(error instanceof Problem) || error.temporary),
      },
    },
  });
}

export function makeRouter(queries: QueryClient, history?: RouterHistory) {
  return createRouter({
    routeTree,
    history,
    context: { queries },
    defaultPreload: "intent",
    defaultPendingMs: 150,
    scrollRestoration: true,
  });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}

interface Props {
  queries: QueryClient;
  router: ReturnType<typeof makeRouter>;
  /** In tests, nothing moves. */
  env?: "test";
}

export function App({ queries, router, env }: Props) {
  return (
    <MantineProvider
      theme={theme}
      colorSchemeManager={themeManager}
      defaultColorScheme="auto"
      getStyleNonce={styleNonce}
      deduplicateCssVariables
      env={env}
    >
      <QueryClientProvider client={queries}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </MantineProvider>
  );
}
