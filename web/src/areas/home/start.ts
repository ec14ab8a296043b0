/** How far the first steps are: read from what exists, never stored. Only that somebody left them is remembered. */
import { useQuery } from "@tanstack/react-query";
import { anyMessage, connectionsHome, endpointsQuery } from "@/api/home";
import { useMay } from "@/api/me";

const LEFT = "waypost.start-left";

export function startIsLeft(): boolean {
  try {
    return localStorage.getItem(LEFT) === "1";
  } catch {
    return false;
  }
}

export function leaveStart(left: boolean): void {
  try {
    if (left) localStorage.setItem(LEFT, "1");
    else localStorage.removeItem(LEFT);
  } catch {
    // Without storage the steps come back with the next visit.
  }
}

export interface Start {
  connected: boolean;
  /** Whether a connection sends texts. */
  textable: boolean;
  texted: boolean;
  /** The endpoint that gets the test event. */
  endpoint?: string;
  /** Whether an endpoint got an event. */
  seen: boolean;
  /** Whether this person can do the steps, and one is left to do. */
  open: boolean;
}

const STEPS = ["connections.write", "messages.send", "webhooks.write"];

export function useStart(): Start {
  const may = useMay();
  const able = STEPS.every(may);
  const connections = useQuery({ ...connectionsHome, enabled: able });
  const messages = useQuery({ ...anyMessage, enabled: able });
  const endpoints = useQuery({ ...endpointsQuery, enabled: able });
  const connected = (connections.data?.data.length ?? 0) > 0;
  const textable = connections.data?.data.some(({ channel }) => channel === "sms") ?? false;
  const texted = (messages.data?.data.length ?? 0) > 0;
  const endpoint = endpoints.data?.data.find(({ status }) => status !== "disabled")?.id;
  const seen = endpoints.data?.data.some(({ counts }) => counts.delivered > 0) ?? false;
  const known = connections.isSuccess && messages.isSuccess && endpoints.isSuccess;
  const finished = connected && texted && endpoint !== undefined && seen;
  return { connected, textable, texted, endpoint, seen, open: known && !finished };
}
