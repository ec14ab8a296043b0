/** A chart over time, loaded when it is shown; beside it stands the same as a table. */
import { Button, Skeleton } from "@mantine/core";
import { lazy, Suspense, useState } from "react";
import { formatNumber } from "@/locales/format";
import classes from "./Chart.module.css";
import { t } from "./texts";

export interface Series {
  name: string;
  /** A value for each time; null where it is not known, which is a gap and not zero. */
  values: readonly (number | null)[];
}

export interface ChartProps {
  /** What the chart shows, in one line. */
  label: string;
  /** Seconds since 1970. */
  times: readonly number[];
  series: readonly Series[];
  /** How a time is written: by default with its hour. */
  formatTime: (at: Date) => string;
  height?: number;
}

const Plot = lazy(() => import("./ChartPlot"));

export function Chart(props: ChartProps) {
  const { label, height = 240 } = props;
  const [asTable, setAsTable] = useState(false);
  return (
    <figure className={classes.figure}>
      <figcaption className={classes.caption}>
        <span>{label}</span>
        <Button variant="subtle" size="compact-xs" onClick={() => setAsTable(!asTable)} aria-pressed={asTable}>
          {t("asTable")}
        </Button>
      </figcaption>
      {asTable ? (
        <Values {...props} />
      ) : (
        <Suspense fallback={<Skeleton height={height} />}>
          <Plot {...props} height={height} />
        </Suspense>
      )}
    </figure>
  );
}

function Values({ label, times, series, formatTime }: ChartProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard.
    <section className={classes.values} tabIndex={0} aria-label={label}>
      <table className={classes.table}>
        <thead>
          <tr>
            <th scope="col">{t("time")}</th>
            {series.map(({ name }) => (
              <th key={name} scope="col" className="numeric">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {times.map((time, index) => (
            <tr key={time}>
              <th scope="row">{formatTime(new Date(time * 1000))}</th>
              {series.map(({ name, values }) => {
                const value = values[index];
                return (
                  <td key={name} className="numeric">
                    {value == null ? "–" : formatNumber(value)}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
