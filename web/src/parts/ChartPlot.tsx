/** Draws a chart with uPlot. The arrow keys walk its times; what stands there is read out. */
import { useComputedColorScheme } from "@mantine/core";
import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { formatNumber } from "@/locales/format";
import type { ChartProps } from "./Chart";
import classes from "./Chart.module.css";

/** Told apart without colour, too: by their dashes. */
const LOOKS = [
  { light: "#1864ab", dark: "#74c0fc", dash: [] },
  { light: "#c92a2a", dark: "#ff8787", dash: [8, 4] },
  { light: "#2b8a3e", dark: "#8ce99a", dash: [2, 3] },
  { light: "#862e9c", dark: "#e599f7", dash: [10, 3, 2, 3] },
  { light: "#d9480f", dark: "#ffa94d", dash: [14, 4] },
  { light: "#0b7285", dark: "#66d9e8", dash: [4, 2] },
] as const;

const look = (index: number) => LOOKS[index % LOOKS.length] as (typeof LOOKS)[number];

export default function ChartPlot({ label, times, series, formatTime, height = 240 }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const [at, setAt] = useState<number>();
  const scheme = useComputedColorScheme("light", { getInitialValueInEffect: false });

  useEffect(() => {
    const element = box.current;
    // Without a canvas there is still what the keys read out, and the table.
    if (!element || !document.createElement("canvas").getContext("2d")) return;
    const ink = scheme === "dark" ? "#c9c9c9" : "#495057";
    const axis = { stroke: ink, grid: { stroke: scheme === "dark" ? "#3b3b3b" : "#e9ecef" }, ticks: { show: false } };
    const made = new uPlot(
      {
        width: element.clientWidth,
        height,
        legend: { show: false },
        cursor: { drag: { x: false, y: false } },
        scales: { y: { range: (_plot, _low, high) => [0, Math.max(high * 1.05, 1)] } },
        axes: [axis, { ...axis, size: 60, values: (_plot, ticks) => ticks.map((tick) => formatNumber(tick)) }],
        series: [
          {},
          ...series.map(({ name }, index) => ({
            label: name,
            stroke: look(index)[scheme],
            dash: [...look(index).dash],
            width: 2,
            points: { show: times.length < 2 },
          })),
        ],
        hooks: { setCursor: [({ cursor }) => setAt(cursor.idx ?? undefined)] },
      },
      [[...times], ...series.map(({ values }) => [...values])],
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [times, series, height, scheme]);

  function walk(event: KeyboardEvent) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined || times.length === 0) return;
    event.preventDefault();
    const next = Math.min(Math.max((at ?? (step > 0 ? -1 : times.length)) + step, 0), times.length - 1);
    plot.current?.setCursor({ left: plot.current.valToPos(times[next] as number, "x"), top: 0 });
    setAt(next);
  }

  const time = at === undefined ? undefined : times[at];
  const readout =
    at === undefined || time === undefined
      ? ""
      : [
          formatTime(new Date(time * 1000)),
          ...series.map(({ name, values }) => `${name} ${values[at] == null ? "–" : formatNumber(values[at])}`),
        ].join(" · ");
  return (
    <>
      <div
        ref={box}
        className={classes.plot}
        role="slider"
        tabIndex={0}
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={Math.max(times.length - 1, 0)}
        aria-valuenow={at ?? 0}
        aria-valuetext={readout}
        onKeyDown={walk}
      />
      <div className={classes.readout} aria-hidden>
        {readout}
      </div>
      <ul className={classes.legend}>
        {series.map(({ name }, index) => (
          <li key={name}>
            <svg width="28" height="8" aria-hidden="true">
              <line
                x1="0"
                x2="28"
                y1="4"
                y2="4"
                stroke={look(index)[scheme]}
                strokeWidth="2.5"
                strokeDasharray={look(index).dash.join(" ")}
              />
            </svg>
            {name}
          </li>
        ))}
      </ul>
    </>
  );
}
