/** The lines of a text before and after a change; signs and words say what the colours say. */
import { diffLines, type Line, shorten } from "./diff";
import classes from "./LineDiff.module.css";
import { t } from "./texts";

interface Props {
  label: string;
  before: string;
  after: string;
}

const SIGNS = { same: "", removed: "−", added: "+" };

export function LineDiff({ label, before, after }: Props) {
  const lines = shorten(diffLines(before, after));
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for fields.
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard.
    <div role="group" aria-label={label} tabIndex={0} className={classes.scroll}>
      <table className={classes.table} aria-label={label}>
        <thead>
          <tr>
            {(["lineBefore", "lineAfter", "line"] as const).map((name) => (
              <th key={name} scope="col">
                <span className="visually-hidden">{t(name)}</span>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {lines.map((line, index) =>
            line.kind === "gap" ? (
              // biome-ignore lint/suspicious/noArrayIndexKey: lines have no other name.
              <tr key={index} className={classes.gap}>
                <td colSpan={3}>{t("sameLines", { n: line.lines })}</td>
              </tr>
            ) : (
              // biome-ignore lint/suspicious/noArrayIndexKey: lines have no other name.
              <Row key={index} line={line} />
            ),
          )}
        </tbody>
      </table>
    </div>
  );
}

function Row({ line: { kind, text, before, after } }: { line: Line }) {
  const Mark = kind === "removed" ? "del" : kind === "added" ? "ins" : "span";
  return (
    <tr className={kind === "same" ? undefined : classes[kind]}>
      <td className={classes.number}>{before}</td>
      <td className={classes.number}>{after}</td>
      <td className={classes.text}>
        {kind !== "same" && (
          <span className="visually-hidden">{t(kind === "removed" ? "removedLine" : "addedLine")}</span>
        )}
        <span aria-hidden className={classes.sign}>
          {SIGNS[kind]}
        </span>
        <Mark className={classes.mark}>{text}</Mark>
      </td>
    </tr>
  );
}
