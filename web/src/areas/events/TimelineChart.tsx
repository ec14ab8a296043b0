/** Counts over time as lines. Loaded only where a chart is: uPlot draws it. */
import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Timeline } from "@/api/metrics";
import { t } from "./texts";

/** Told apart by their dashes as well: not everybody sees the colours. */
const LINES: { light: string; dark: string; dash: number[] }[] = [
  { light: "#1864ab", dark: "#74c0fc", dash: [] },
  { light: "#c92a2a", dark: "#ffa8a8", dash: [8, 4] },
  { light: "#2b8a3e", dark: "#8ce99a", dash: [2, 3] },
  { light: "#862e9c", dark: "#e599f7", dash: [12, 3, 2, 3] },
  { light: "#a61e4d", dark: "#faa2c1", dash: [5, 5] },
  { light: "#5c940d", dark: "#c0eb75", dash: [1, 4] },
  { light: "#495057", dark: "#ced4da", dash: [16, 4] },
];

interface Props {
  timeline: Timeline;
  height: number;
}

export function TimelineChart({ timeline, height }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const scheme = useComputedColorScheme();

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const dark = scheme === "dark";
    const axis = { stroke: dark ? "#ced4da" : "#495057", grid: { stroke: dark ? "#373a40" : "#e9ecef", width: 1 } };
    const chart = new uPlot(
      {
        width: element.clientWidth,
        height,
        series: [
          {},
          ...timeline.series.map(({ status }, index) => {
            const line = LINES[index % LINES.length];
            return {
              label: status ?? t("events"),
              stroke: dark ? line?.dark : line?.light,
              dash: line?.dash,
              width: 2,
              points: { show: timeline.starts.length < 40 },
            };
          }),
        ],
        axes: [axis, axis],
        // From zero: a line that begins elsewhere makes small changes look large.
        scales: { y: { range: (_, __, max) => [0, Math.max(max * 1.05, 1)] } },
      },
      [timeline.starts.map((start) => Date.parse(start) / 1000), ...timeline.series.map(({ counts }) => counts)],
      element,
    );
    const resize = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height }));
    resize.observe(element);
    return () => {
      resize.disconnect();
      chart.destroy();
    };
  }, [timeline, height, scheme]);

  return <div ref={box} role="img" aria-label={t("chartOf", { name: timeline.name })} />;
}
