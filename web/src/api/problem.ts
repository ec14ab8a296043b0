/** Errors of the API (RFC 9457) as one class, also when the server was not reached. */

export interface FieldError {
  /** The path of the field in the body, its parts joined by dots: `config.host`, `event_types.0`. */
  field: string;
  detail: string;
}

export class Problem extends Error {
  override name = "Problem";

  constructor(
    /** 0 if no answer came. */
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly fields: FieldError[] = [],
    readonly extra: Record<string, unknown> = {},
    /** Seconds to wait before the same request has a chance. */
    readonly retryAfter?: number,
    readonly requestId?: string,
  ) {
    super(detail);
  }

  /** Whether the same request may succeed in a moment. */
  get temporary(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

/** Returns `event_types.0` for the JSON pointer `/event_types/0`. */
function dotted(pointer: string): string {
  return pointer
    .replace(/^\//, "")
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .join(".");
}

/** Returns `event_types.0` for the path `event_types[0]`, and `rules.from` for `rules[...].from`, some item of it. */
function plain(path: string): string {
  return path
    .replaceAll("[...]", "")
    .replace(/\[(\w*)\]/g, ".$1")
    .replace(/^\./, "");
}

/** Reads the fields that a problem document names: `errors`, `field` or `pointer`. */
export function readFields(body: Record<string, unknown>): FieldError[] {
  const detail = text(body.detail) ?? "";
  if (Array.isArray(body.errors)) {
    return body.errors.flatMap((one: Record<string, unknown>) => {
      const field = text(one.field) ?? (text(one.pointer) === undefined ? undefined : dotted(String(one.pointer)));
      return field === undefined ? [] : [{ field: plain(field), detail: text(one.detail) ?? detail }];
    });
  }
  const field = text(body.field);
  if (field) return [{ field: plain(field), detail }];
  return [];
}

export function readProblem(response: Response, body: unknown): Problem {
  const document = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  const retryAfter = Number(response.headers.get("retry-after") ?? Number.NaN);
  return new Problem(
    response.status,
    text(document.code) ?? "error",
    text(document.detail) ?? `HTTP ${response.status} ${response.statusText}`.trim(),
    readFields(document),
    document,
    Number.isFinite(retryAfter) ? retryAfter : undefined,
    response.headers.get("x-request-id") ?? undefined,
  );
}
