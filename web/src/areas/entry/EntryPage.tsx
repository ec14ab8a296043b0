/** The frame of the pages before a session: a card in the middle. */
import { Paper } from "@mantine/core";
import type { ReactNode } from "react";
import { Page } from "@/parts/Page";
import classes from "./EntryPage.module.css";

export function EntryPage({ title, lead, children }: { title: string; lead?: ReactNode; children: ReactNode }) {
  return (
    <main id="content" className={classes.center}>
      <Paper withBorder p="xl" radius="md" className={classes.card}>
        <Page title={title} lead={lead}>
          {children}
        </Page>
      </Paper>
    </main>
  );
}
