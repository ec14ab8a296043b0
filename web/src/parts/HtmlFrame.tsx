/** The HTML of a mail in a frame that runs nothing of it, and loads images of other hosts only when asked. */
import { useEffect, useRef, useState } from "react";
import classes from "./HtmlFrame.module.css";

interface Props {
  html: string;
  /** The name of the frame: "Preview of the mail". */
  title: string;
  /** Images of other hosts. */
  images?: boolean;
  /** As a mail program in dark colours may show it. */
  dark?: boolean;
  /** The width of a phone in CSS pixels; without it, all there is. */
  width?: number;
  /** A link was clicked; it is not followed. */
  onLink?: (href: string) => void;
}

export function HtmlFrame({ html, title, images = false, dark = false, width, onLink }: Props) {
  const frame = useRef<HTMLIFrameElement>(null);
  // How often a page in the frame has said that it is loaded. With images it is another page, which has no mail yet.
  const [ready, setReady] = useState(0);
  const [height, setHeight] = useState(200);
  const follow = useRef(onLink);
  follow.current = onLink;

  useEffect(() => {
    const listen = (event: MessageEvent) => {
      if (event.source !== frame.current?.contentWindow) return;
      if (event.data?.ready) setReady((times) => times + 1);
      if (typeof event.data?.height === "number") setHeight(Math.min(Math.max(event.data.height, 80), 20_000));
      if (typeof event.data?.link === "string") follow.current?.(event.data.link);
    };
    window.addEventListener("message", listen);
    return () => window.removeEventListener("message", listen);
  }, []);

  // The frame has no origin of its own, so none can be named.
  useEffect(() => {
    if (ready) frame.current?.contentWindow?.postMessage({ html, dark }, "*");
  }, [ready, html, dark]);

  const source = images ? "/mail-frame-images.html" : "/mail-frame.html";
  return (
    <iframe
      key={source}
      ref={frame}
      src={source}
      title={title}
      sandbox="allow-scripts"
      className={classes.frame}
      style={{ blockSize: height, inlineSize: width ?? "100%" }}
    />
  );
}
