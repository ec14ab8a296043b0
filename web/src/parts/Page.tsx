/** The content of a page: its title in the tab, its only h1, which gets the focus when the route changes. */
import { Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useEffect, useRef } from "react";
import { meQuery } from "@/api/me";
import classes from "./Page.module.css";

interface Props {
  title: string;
  /** The area that the page belongs to, for the title of the tab, if it is not the page itself. */
  area?: string;
  /** One line below the title. */
  lead?: ReactNode;
  /** Buttons beside the title. */
  actions?: ReactNode;
  children: ReactNode;
}

/** The first page is not announced by its h1: the browser itself reads the new document. */
let firstPage = true;

export function Page({ title, area, lead, actions, children }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  // Pages before a session have nobody to ask about.
  const workspace = useQuery({ ...meQuery, enabled: false }).data?.workspace?.name;
  useEffect(() => {
    document.title = [title, area, workspace, "Waypost"].filter(Boolean).join(" · ");
  }, [title, area, workspace]);
  useEffect(() => {
    if (!firstPage) heading.current?.focus({ preventScroll: true });
    firstPage = false;
  }, []);
  return (
    <div className={classes.page}>
      <div className={classes.head}>
        <div className={classes.title}>
          <Title order={1} size="h2" ref={heading} tabIndex={-1}>
            {title}
          </Title>
          {lead && <div className={classes.lead}>{lead}</div>}
        </div>
        {actions && <div className={classes.actions}>{actions}</div>}
      </div>
      {children}
    </div>
  );
}
