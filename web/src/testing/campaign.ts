/** A campaign that nothing was chosen for yet, as the API returns it. */
import type { Campaign } from "@/api/campaigns";

export const AT = "2026-11-01T09:00:00Z";

export const DRAFT: Campaign = {
  id: "cmp_1",
  name: "Autumn",
  channel: "email",
  state: "draft",
  reason: null,
  template_id: null,
  audience: {},
  exclude: {},
  schedule: { kind: "now" },
  throttle: null,
  purpose: "promotional",
  connection_id: null,
  variables: {} as never,
  validity: null,
  conversion: null,
  holdout: 0,
  test: null,
  utm: null,
  tracking: null,
  version: 1,
  progress: { audience: 0, done: 0 },
  next_at: null,
  occurrences: [],
  launched_at: null,
  ended_at: null,
  created_at: AT,
  updated_at: AT,
};

export const NONE = { total: 0, unique: 0, machine: 0 };
