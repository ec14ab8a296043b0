/** Says in words why a try failed. The API writes `code: detail`. */
import { has, t } from "./texts";

export function errorCode(error: string): string {
  return error.split(":", 1)[0] ?? error;
}

export function errorWords(error: string): string {
  const code = errorCode(error);
  if (/^status_\d+$/.test(code)) return t("error_status", { status: code.slice(7) });
  const key = `error_${code}`;
  if (has(key)) return t(key);
  return error.slice(code.length).replace(/^:\s*/, "") || t("error_other");
}
