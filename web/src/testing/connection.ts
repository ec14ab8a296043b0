/** A connection to a provider, and the connectors that there are, as the API returns them. */
import type { Connection, Connector } from "@/api/connections";

export const AT = "2026-11-01T10:00:00Z";
const field = (name: string, label: string, more: Partial<Connector["fields"][number]> = {}) => ({
  name,
  label,
  kind: "text",
  secret: false,
  required: true,
  pattern: "",
  choices: [],
  default: null,
  help: "",
  ...more,
});
const PINPOINT: Connector = {
  name: "aws-pinpoint",
  label: "AWS Pinpoint",
  description: "SMS through an Amazon Pinpoint project.",
  channel: "sms",
  own: false,
  fields: [
    field("region", "Region", { help: "Such as us-east-1." }),
    field("project_id", "Project ID", { pattern: "[0-9a-f]{4}" }),
    field("secret_key", "Secret key", { secret: true }),
    field("message_type", "Message type", {
      kind: "choice",
      choices: ["TRANSACTIONAL", "PROMOTIONAL"],
      default: "TRANSACTIONAL",
      required: false,
    }),
  ],
  regions: ["us-east-1"],
  batch_size: 100,
  per_second: 4000,
  concurrency: 16,
  validity: 1,
  idempotent: false,
  callback: null,
  tracker_urls: { global: "https://w.example.com/tracking", in: "https://in.example.com/tracking" },
  created_at: null,
  updated_at: null,
};
export const CONNECTORS = {
  "GET /v1/connectors": {
    data: [PINPOINT, { ...PINPOINT, name: "http", label: "HTTP gateway", fields: [], tracker_urls: {} }],
  },
};
export const CONNECTION: Connection = {
  id: "con_1",
  name: "Pinpoint Promo",
  connector: "aws-pinpoint",
  channel: "sms",
  status: "enabled",
  status_reason: null,
  status_at: null,
  health: "ok",
  config: { region: "us-east-1", project_id: "00ff", message_type: "TRANSACTIONAL" } as never,
  secrets: { secret_key: "••••EKEY" },
  position: 0,
  per_second: null,
  concurrency: null,
  validity: null,
  limits: { per_second: 4000, concurrency: 16, validity: 259200 },
  data_center: "global",
  check: null,
  callback_url: "https://w.example.com/receipts/con_1",
  tracker_url: "https://w.example.com/tracking/amazon-pinpoint-events",
  last_error: null,
  last_error_at: null,
  created_at: AT,
  updated_at: AT,
};
