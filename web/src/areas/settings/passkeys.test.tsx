/** Passkeys in the settings, and as a proof where one is asked for. */
import { screen, within } from "@testing-library/react";
import { expect, test } from "vitest";
import type { Me } from "@/api/me";
import { refusal } from "@/testing/answers";
import { open } from "@/testing/open";
import { CHALLENGE, MADE, stubPasskeys, USED } from "@/testing/passkeys";
import { PERSON } from "@/testing/person";

const AT = "2026-11-01T10:00:00Z";
const passkey = (name: string, last_used_at: string | null = null) => ({
  id: "psk_1",
  name,
  created_at: AT,
  last_used_at,
});
const WITH_PASSKEY: Me = { ...PERSON, user: PERSON.user && { ...PERSON.user, passkeys: 1 } };
const LISTED = {
  ...CHALLENGE,
  "GET /v1/me": WITH_PASSKEY,
  "GET /v1/sessions": { data: [] },
  "GET /v1/users/me/passkeys": { data: [passkey("Laptop")] },
};

test("a passkey is added under a name", async () => {
  const browser = stubPasskeys();
  let added = false;
  const { user, asked } = open("/settings", {
    ...CHALLENGE,
    "GET /v1/sessions": { data: [] },
    "GET /v1/users/me/passkeys": () => ({ data: added ? [passkey("Laptop")] : [] }),
    "POST /v1/users/me/passkeys": () => {
      added = true;
      return passkey("Laptop");
    },
  });
  expect(await screen.findByText("You have no passkeys yet.")).toBeVisible();
  await user.click(await screen.findByRole("button", { name: "Add a passkey" }));
  const name = screen.getByLabelText("Name of the passkey");
  await user.clear(name);
  await user.type(name, "Laptop");
  browser.create.mockRejectedValueOnce(new DOMException("Already there.", "InvalidStateError"));
  await user.click(screen.getByRole("button", { name: "Create the passkey" }));
  expect(await screen.findByText("This device has a passkey for you already.")).toBeVisible();
  await user.click(screen.getByRole("button", { name: "Create the passkey" }));
  expect(await screen.findByRole("cell", { name: "Laptop" })).toBeVisible();
  expect(screen.getByRole("cell", { name: "Never" })).toBeVisible();
  const options = browser.create.mock.calls[1]?.[0]?.publicKey;
  expect(options).toMatchObject({
    rp: { id: "localhost", name: "Waypost" },
    pubKeyCredParams: [{ alg: -7, type: "public-key" }],
    authenticatorSelection: { residentKey: "required", userVerification: "required" },
    attestation: "none",
  });
  expect(options?.user.id).toEqual(new Uint8Array([4]));
  expect(asked.find(({ method, path }) => method === "POST" && path === "/v1/users/me/passkeys")?.body).toEqual({
    credential: MADE,
    name: "Laptop",
  });
});

test("a passkey is renamed, and one that is the last second factor stays", async () => {
  const { user, asked } = open("/settings", {
    ...LISTED,
    "PATCH /v1/users/me/passkeys/{id}": passkey("Old laptop"),
    "DELETE /v1/users/me/passkeys/{id}": refusal(409, "last_second_factor", "Add another one first."),
  });
  await user.click(await screen.findByRole("button", { name: "Rename Laptop" }));
  await user.clear(screen.getByLabelText("New name"));
  await user.type(screen.getByLabelText("New name"), "Old laptop");
  const row = screen.getByLabelText("New name").closest("tr") as HTMLElement;
  await user.click(within(row).getByRole("button", { name: "Save" }));
  await expect
    .poll(() => asked.find(({ method }) => method === "PATCH"))
    .toMatchObject({ params: { id: "psk_1" }, body: { name: "Old laptop" } });
  await user.click(await screen.findByRole("button", { name: "Delete Laptop" }));
  const dialog = await screen.findByRole("dialog", { name: "Delete the passkey Laptop?" });
  await user.click(within(dialog).getByRole("button", { name: "Delete" }));
  expect((await screen.findAllByText("Add another one first."))[0]).toBeInTheDocument();
});

test.each([
  [null, /only at https addresses and at localhost/],
  ["https://waypost.example", /do not work at this address/],
  [window.location.origin, /do not work in this browser/],
])("where passkeys work at %j and not in this page, it says why", async (passkey_origin, said) => {
  open("/settings", {
    ...LISTED,
    "GET /v1/setup": { needs_owner: false, version: "1", passkey_origin, single_sign_on: false },
  });
  expect(await screen.findByText(said)).toBeVisible();
  expect(screen.queryByRole("button", { name: "Add a passkey" })).not.toBeInTheDocument();
  // What there is can still be deleted.
  expect(screen.getByRole("button", { name: "Delete Laptop" })).toBeVisible();
});

test("where the password is not enough, the passkey is asked for, and then it happens", async () => {
  stubPasskeys();
  let proved = false;
  const { user, asked } = open("/settings", {
    ...LISTED,
    "DELETE /v1/users/me/passkeys/{id}": () => (proved ? undefined : refusal(403, "passkey_required")),
    "POST /v1/sessions/current/confirm": () => {
      proved = true;
      return WITH_PASSKEY;
    },
  });
  await user.click(await screen.findByRole("button", { name: "Delete Laptop" }));
  await user.click(await screen.findByRole("button", { name: "Delete" }));
  const dialog = await screen.findByRole("dialog", { name: "Confirm that it is you" });
  expect(within(dialog).queryByLabelText("Password")).not.toBeInTheDocument();
  await user.click(await within(dialog).findByRole("button", { name: "Use your passkey" }));
  expect((await screen.findAllByText("The passkey Laptop is deleted."))[0]).toBeInTheDocument();
  expect(asked.find(({ path }) => path === "/v1/sessions/current/confirm")?.body).toEqual({ passkey: USED });
});

test.each([
  [false, false, "Password"],
  [true, true, /Code from your authenticator app/],
])("a fresh proof may be a passkey or something else (mfa %j, app %j)", async (mfa, totp, other) => {
  stubPasskeys();
  const me: Me = {
    ...WITH_PASSKEY,
    user: WITH_PASSKEY.user && { ...WITH_PASSKEY.user, totp },
    session: PERSON.session && { ...PERSON.session, mfa },
  };
  const { user } = open("/settings", {
    ...LISTED,
    "GET /v1/me": me,
    "POST /v1/users/me/passkeys/challenge": refusal(403, "confirmation_required"),
  });
  await user.click(await screen.findByRole("button", { name: "Add a passkey" }));
  await user.click(screen.getByRole("button", { name: "Create the passkey" }));
  const dialog = await screen.findByRole("dialog", { name: "Confirm that it is you" });
  expect(within(dialog).getByLabelText(other)).toBeVisible();
  expect(await within(dialog).findByRole("button", { name: "Use your passkey" })).toBeVisible();
  await user.click(within(dialog).getByRole("button", { name: "Close" }));
  expect(await screen.findByText("confirmation_required")).toBeVisible();
});
