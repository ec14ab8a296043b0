/** A person of the workspace, and what their page asks for. */
import type { Person } from "@/api/people";
import type { Answers } from "./answers";

export const AT = "2026-11-01T09:00:00Z";
export const ADA: Omit<Person, "traits"> & { traits: never } = {
  id: "pro_1",
  user_id: "u-1",
  email: "ada@example.com",
  phone: "+4915112345678",
  user_ids: ["u-1"],
  anonymous_ids: [],
  emails: ["ada@example.com"],
  phones: ["+4915112345678"],
  traits: { plan: "pro" } as never,
  tags: ["vip"],
  created_at: AT,
  updated_at: AT,
  merged_ids: [],
};
export const SAID = { source: "form", changed_at: AT, proof: null };
export const PROFILE = {
  "GET /v1/profiles/{id}": ADA,
  "GET /v1/lists": { data: [] },
  "GET /v1/suppressions": { data: [] },
  "GET /v1/profiles/{id}/lists": {
    data: [{ id: "lst_1", name: "News", state: "subscribed", source: "form", changed_at: AT }],
  },
  "GET /v1/profiles/{id}/subscriptions/email": {
    data: [{ channel: "email", address: "ada@example.com", state: "subscribed", ...SAID }],
  },
  "GET /v1/profiles/{id}/subscriptions/sms": {
    data: [{ channel: "sms", address: "+4915112345678", state: null, source: null, changed_at: null, proof: null }],
  },
  "GET /v1/profiles/{id}/events": {
    data: [
      {
        id: "evt_1",
        type: "track",
        message_id: "m1",
        profile_id: "pro_1",
        occurred_at: AT,
        received_at: AT,
        data: { event: "Order Completed", properties: { total: 42 } },
      },
    ],
  },
} as unknown as Answers;
