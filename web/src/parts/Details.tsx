/** Names and values of one thing, and the boxes that a page consists of. */
import { Paper, Title } from "@mantine/core";
import type { ReactNode } from "react";
import classes from "./Details.module.css";

/** Rows without a value (undefined) are left out. */
export function Details({ rows }: { rows: readonly (readonly [name: string, value: ReactNode] | false)[] }) {
  return (
    <dl className={classes.list}>
      {rows.map((row) => {
        if (row === false || row[1] === undefined) return null;
        return (
          <div key={row[0]} className={classes.row}>
            <dt className={classes.name}>{row[0]}</dt>
            <dd className={classes.value}>{row[1]}</dd>
          </div>
        );
      })}
    </dl>
  );
}

interface SectionProps {
  title: string;
  lead?: ReactNode;
  actions?: ReactNode;
  children?: ReactNode;
}

/** A box with a heading of the second level. */
export function Section({ title, lead, actions, children }: SectionProps) {
  return (
    <Paper component="section" withBorder radius="md" p="md" className={classes.section} aria-label={title}>
      <div className={classes.head}>
        <Title order={2} size="h4">
          {title}
        </Title>
        {actions && <div className={classes.actions}>{actions}</div>}
      </div>
      {lead && <p className={classes.lead}>{lead}</p>}
      {children}
    </Paper>
  );
}
