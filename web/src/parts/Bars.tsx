/** Small bars of a series, such as the hours of a day; the figures are read from a table that only screen readers get. */
import classes from "./Bars.module.css";

interface Props {
  /** What the bars count. */
  label: string;
  bars: readonly { label: string; value: number }[];
}

export function Bars({ label, bars }: Props) {
  const most = Math.max(1, ...bars.map(({ value }) => value));
  return (
    <figure className={classes.figure}>
      <div className={classes.bars} aria-hidden>
        {bars.map(({ label: name, value }) => (
          <div key={name} className={classes.slot} title={name}>
            <div className={classes.bar} style={{ blockSize: `${(value / most) * 100}%` }} />
          </div>
        ))}
      </div>
      <figcaption className={classes.caption}>{label}</figcaption>
      <ul className="visually-hidden" aria-label={label}>
        {bars.map(({ label: name }) => (
          <li key={name}>{name}</li>
        ))}
      </ul>
    </figure>
  );
}
