/** The pages of sending rules and tracking, as a person uses them. */
import { screen, within } from "@testing-library/react";
import { describe, expect, test } from "vitest";
import type { SendingRules } from "@/api/sendingRules";
import type { Tracking } from "@/api/tracking";
import { refusal } from "@/testing/answers";
import { open } from "@/testing/open";
import { withPermissions } from "@/testing/person";
import { readRules, writeRules } from "./rules";
import { readTracking, writeTracking } from "./tracking";

const ALL_DAYS: NonNullable<SendingRules["quiet_hours"][number]["days"]> = [
  "monday",
  "tuesday",
  "wednesday",
  "thursday",
  "friday",
  "saturday",
  "sunday",
];
const NIGHT: SendingRules["quiet_hours"][number] = {
  channel: "sms",
  from: "21:00",
  to: "08:00",
  days: ALL_DAYS,
  purpose: "promotional",
  action: "hold",
  max_hold: "24h",
  jitter: "15m",
};
const RULES: SendingRules = {
  timezone: "UTC",
  quiet_hours: [NIGHT],
  frequency_caps: [],
  version: 3,
  updated_at: null,
  updated_by: null,
};
const TRACKING: Tracking = {
  base_url: "https://w.example",
  link_days: 400,
  utm: null,
  opens: true,
  clicks: true,
  transactional: false,
  bait: false,
  opt_out_text: "",
  data_center: "global",
  data_centers: { global: "https://w.example" },
  default_link_days: 400,
};
const save = () => screen.getByRole("button", { name: "Save" });

describe("sending rules", () => {
  test("quiet hours are changed and a frequency cap is added", async () => {
    const { user, asked } = open("/settings/sending-rules", {
      "GET /v1/sending-rules": RULES,
      "PUT /v1/sending-rules": ({ body }) => ({ ...RULES, ...body, version: 4 }),
    });
    const quiet = within(await screen.findByRole("group", { name: "Quiet hours 1" }));
    expect(quiet.getByLabelText("From")).toHaveValue("21:00");
    expect(quiet.getByText("on the next day")).toBeVisible();
    expect(screen.getByText("UTC")).toBeVisible();
    expect(screen.getByRole("link", { name: "settings of the workspace" })).toHaveAttribute(
      "href",
      "/settings/workspace",
    );
    await user.click(quiet.getByRole("checkbox", { name: "Sunday" }));
    await user.selectOptions(quiet.getByLabelText("Channel"), "All channels");
    await user.click(screen.getByRole("button", { name: "Add a frequency cap" }));
    const cap = within(await screen.findByRole("group", { name: "Frequency cap 1" }));
    await user.clear(cap.getByLabelText("At most"));
    await user.click(save());
    expect(await screen.findByText(/Enter how many messages/)).toBeVisible();
    expect(asked.some(({ method }) => method === "PUT")).toBe(false);
    await user.type(cap.getByLabelText("At most"), "2");
    await user.clear(cap.getByLabelText("Length of the period"));
    await user.type(cap.getByLabelText("Length of the period"), "7");
    await user.selectOptions(cap.getByLabelText("Length of the period: unit"), "days");
    await user.click(save());
    await expect
      .poll(() => asked.find(({ method }) => method === "PUT")?.body)
      .toEqual({
        quiet_hours: [{ ...NIGHT, channel: null, days: ALL_DAYS.slice(0, 6) }],
        frequency_caps: [{ channel: null, limit: 2, within: "7d", per: null, purpose: "promotional", action: "skip" }],
        version: 3,
      });
    expect((await screen.findAllByText("Saved."))[0]).toBeInTheDocument();
  });

  test("what the server refuses stands beside its field, with what was typed", async () => {
    const { user } = open("/settings/sending-rules", {
      "GET /v1/sending-rules": RULES,
      "PUT /v1/sending-rules": refusal(400, "invalid_sending_rules", "It must be from 0m to 15m.", {
        field: "quiet_hours[0].jitter",
      }),
    });
    const jitter = await screen.findByLabelText("Spread over");
    await user.clear(jitter);
    await user.type(jitter, "30");
    await user.click(save());
    expect(await screen.findByText("It must be from 0m to 15m.")).toBeVisible();
    expect(jitter).toHaveValue("30");
    expect(jitter).toBeInvalid();
    expect(jitter).toHaveFocus();
    await user.type(jitter, "{Backspace}");
    expect(screen.queryByText("It must be from 0m to 15m.")).toBeNull();
  });

  test("rules that others changed meanwhile are not overwritten unasked", async () => {
    const theirs: SendingRules = { ...RULES, timezone: "Europe/Berlin", version: 9 };
    let reads = 0;
    const { user, asked } = open("/settings/sending-rules", {
      "GET /v1/sending-rules": () => (reads++ === 0 ? RULES : theirs),
      "PUT /v1/sending-rules": ({ body }) =>
        body.version === 9 ? { ...RULES, ...body, version: 10 } : refusal(409, "version_changed"),
    });
    await user.click(await screen.findByRole("button", { name: "Remove quiet hours 1" }));
    await user.click(save());
    expect(await screen.findByText("Somebody else has saved this in the meantime")).toBeVisible();
    expect(screen.getByText("There are no quiet hours.")).toBeVisible();
    await user.click(screen.getByRole("button", { name: "Keep mine" }));
    expect((await screen.findAllByText("Saved."))[0]).toBeInTheDocument();
    expect(asked.findLast(({ method }) => method === "PUT")?.body).toMatchObject({ quiet_hours: [], version: 9 });
  });

  test("can be read, and not changed, by who may only read", async () => {
    open("/settings/sending-rules", {
      "GET /v1/me": withPermissions("settings.read"),
      "GET /v1/sending-rules": RULES,
    });
    expect(await screen.findByLabelText("From")).toBeDisabled();
    expect(screen.queryByRole("button", { name: "Save" })).toBeNull();
  });

  test("are the same after a walk through the form", () => {
    const cap = { channel: "email", limit: 4, within: null, per: "week", purpose: "any", action: "hold" } as const;
    const rules = { ...RULES, frequency_caps: [{ ...cap, max_hold: "2d" }] };
    expect(writeRules(readRules(rules))).toEqual({
      quiet_hours: rules.quiet_hours,
      frequency_caps: rules.frequency_caps,
    });
  });
});

describe("tracking", () => {
  test("opens, the domain and UTM parameters are set", async () => {
    const { user, asked } = open("/settings/tracking", {
      "GET /v1/tracking": TRACKING,
      "PUT /v1/tracking": ({ body }) => ({ ...TRACKING, ...body }),
    });
    await user.click(await screen.findByRole("checkbox", { name: "Record opens of promotional emails" }));
    await user.type(screen.getByLabelText("Tracking domain"), "https://s.example.com");
    await user.click(screen.getByRole("checkbox", { name: "Add UTM parameters" }));
    await user.type(screen.getByLabelText("utm_source"), "news");
    expect(screen.getByText("https://shop.example/?utm_source=news&utm_campaign=promotional")).toBeVisible();
    await user.click(save());
    await expect
      .poll(() => asked.find(({ method }) => method === "PUT")?.body)
      .toEqual({
        opens: false,
        clicks: true,
        transactional: false,
        bait: false,
        base_url: "https://s.example.com",
        data_center: "global",
        link_days: null,
        utm: { source: "news", medium: "", campaign: "" },
        opt_out_text: "",
      });
  });

  test("a domain that is refused says so beside its field", async () => {
    const { user } = open("/settings/tracking", {
      "GET /v1/tracking": { ...TRACKING, base_url: "https://own.example" },
      "PUT /v1/tracking": refusal(400, "invalid_url", "The base_url must be a URL.", { field: "base_url" }),
    });
    const domain = await screen.findByLabelText("Tracking domain");
    expect(domain).toHaveValue("https://own.example");
    await user.type(domain, "?x");
    await user.click(save());
    expect(await screen.findByText("The base_url must be a URL.")).toBeVisible();
    expect(domain).toHaveValue("https://own.example?x");
  });

  test("what the server would choose anyway stays its choice", () => {
    expect(writeTracking(readTracking(TRACKING))).toMatchObject({ base_url: null, link_days: null, utm: null });
    const own = { ...TRACKING, link_days: 30, utm: { source: "a", medium: "b", campaign: "c" } };
    expect(writeTracking(readTracking(own))).toMatchObject({ link_days: 30, utm: own.utm });
  });
});
