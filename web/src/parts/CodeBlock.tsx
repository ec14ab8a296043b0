/** Text in the letters of a terminal, with a button that copies it. It scrolls by itself, by keyboard too. */
import { useId } from "react";
import classes from "./CodeBlock.module.css";
import { CopyButton } from "./CopyButton";

interface Props {
  text: string;
  /** The name of the block, shown above it. */
  label?: string;
  /** The name for screen readers, where none is shown. */
  hiddenLabel?: string;
  wrap?: boolean;
}

export function CodeBlock({ text, label, hiddenLabel, wrap = false }: Props) {
  const id = useId();
  return (
    <div className={classes.block}>
      <div className={classes.head}>
        {label && (
          <span id={id} className={classes.label}>
            {label}
          </span>
        )}
        <CopyButton text={text} what={label ?? hiddenLabel} />
      </div>
      <section
        aria-labelledby={label ? id : undefined}
        aria-label={label ? undefined : hiddenLabel}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard.
        tabIndex={0}
        className={classes.scroll}
      >
        <pre className={wrap ? classes.wrapped : classes.text}>{text}</pre>
      </section>
    </div>
  );
}
