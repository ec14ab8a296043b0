/** The figures of the last day, and how many messages left in each hour. */
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { eventFigures, HOURS, ledgerQuery, messageFigures } from "@/api/home";
import { useMay } from "@/api/me";
import { formatPercent, formatTimeOfDay } from "@/locales/format";
import { Bars } from "@/parts/Bars";
import { Count } from "@/parts/Count";
import { Section } from "@/parts/Details";
import { States } from "@/parts/States";
import { useNow } from "@/parts/useNow";
import classes from "./HomePage.module.css";
import { t } from "./texts";

const HOUR_MS = 3_600_000;

export function Figures() {
  const may = useMay();
  const messages = useQuery({ ...messageFigures, enabled: may("messages.read") });
  const events = useQuery({ ...eventFigures, enabled: may("events.read") });
  const ledger = useQuery({ ...ledgerQuery, enabled: may("settings.read") });
  const { sent = 0, delivered = 0, failed = 0 } = messages.data?.totals ?? {};
  return (
    <Section title={t("figures")}>
      <dl className={classes.figures}>
        {may("events.read") && (
          <Figure name={t("events")}>
            <Count of={events.data?.total} short />
          </Figure>
        )}
        {may("messages.read") && (
          <>
            <Figure name={t("sent")}>
              <Count of={messages.data && sent} short />
            </Figure>
            <Figure name={t("delivered")} note={sent > 0 && t("ofSent", { share: formatPercent(delivered / sent) })}>
              <Count of={messages.data && delivered} short />
            </Figure>
            <Figure
              name={t("failed")}
              note={failed > 0 && t("ofFinal", { share: formatPercent(failed / (failed + delivered)) })}
            >
              <Count of={messages.data && failed} short />
            </Figure>
          </>
        )}
        {may("settings.read") && (
          <Figure
            name={t("webhooks")}
            note={ledger.data && t("waiting", { pending: ledger.data.pending, dead: ledger.data.dead })}
          >
            <Count of={ledger.data?.delivered} short />
          </Figure>
        )}
      </dl>
      {may("messages.read") && <States query={messages}>{({ sent: hourly }) => <Hours values={hourly} />}</States>}
    </Section>
  );
}

function Figure({ name, note, children }: { name: string; note?: ReactNode; children: ReactNode }) {
  return (
    <div className={classes.figure}>
      <dt>{name}</dt>
      <dd>
        {children}
        {note && <div className={classes.note}>{note}</div>}
      </dd>
    </div>
  );
}

function Hours({ values }: { values: readonly number[] }) {
  const last = Math.floor(useNow() / HOUR_MS);
  const bars = values.map((value, index) => {
    const hour = formatTimeOfDay(new Date((last - HOURS + 1 + index) * HOUR_MS));
    return { label: t("hourly", { hour, n: value }), value };
  });
  return <Bars label={t("perHour")} bars={bars} />;
}
