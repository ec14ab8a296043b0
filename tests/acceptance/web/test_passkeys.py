"""Passkeys in Chromium, with its virtual authenticator: added, used in place of a password, used up, deleted."""

import contextlib
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import CDPSession, Page, expect

from tests.acceptance.web.browser import EMAIL, at_home, field, new_page, serious_findings, sign_out, signed_in, url


@contextlib.contextmanager
def authenticator(page: Page) -> Iterator[tuple[CDPSession, str]]:
    """A device in the browser that keeps passkeys and verifies whoever asks; and its id."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    made = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    yield session, made["authenticatorId"]


def kept(session: CDPSession, device: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = session.send("WebAuthn.getCredentials", {"authenticatorId": device})["credentials"]
    return found


def test_a_passkey_from_the_settings_to_the_sign_in_page(owned, browser):
    with signed_in(browser, owned) as page, authenticator(page) as (session, device):
        page.goto("/settings")
        page.get_by_role("button", name="Add a passkey").click()
        field(page, "Name of the passkey").fill("My laptop")
        page.get_by_role("button", name="Create the passkey").click()
        row = page.get_by_role("table", name="Passkeys").get_by_role("row").filter(has_text="My laptop")
        expect(row).to_be_visible()
        expect(row).to_contain_text("Never")
        (credential,) = kept(session, device)
        assert (credential["rpId"], credential["isResidentCredential"]) == ("localhost", True)
        assert not serious_findings(page)

        sign_out(page)
        page.get_by_role("button", name="Sign in with a passkey").click()
        at_home(page)
        page.goto("/settings")
        expect(row).not_to_contain_text("Never")

        page.goto("/settings")
        page.get_by_role("button", name="Delete My laptop").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_text("You have no passkeys yet.")).to_be_visible()
        sign_out(page)
        page.get_by_role("button", name="Sign in with a passkey").click()
        expect(page.get_by_text("This passkey was not accepted.")).to_be_visible()


def test_where_a_workspace_requires_it_the_password_is_confirmed_with_the_passkey(owned, browser):
    owned.api().send("PATCH", "/v1/workspace", {"mfa": "required"})
    with new_page(browser, url(owned)) as page, authenticator(page):
        page.goto("/settings")
        page.get_by_label("Email").fill(EMAIL)
        page.get_by_label("Password", exact=True).fill("correct horse battery")
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.get_by_role("button", name="Add a passkey").click()
        page.get_by_role("button", name="Create the passkey").click()
        expect(page.get_by_role("table", name="Passkeys")).to_be_visible()
        page.goto("/settings/keys")
        expect(page.get_by_role("heading", level=1)).to_have_text("API keys")
        expect(page.get_by_text("first API key")).to_be_visible()

        sign_out(page)
        page.get_by_label("Email").fill(EMAIL)
        page.get_by_label("Password", exact=True).fill("correct horse battery")
        page.get_by_role("button", name="Sign in", exact=True).click()
        dialog = page.get_by_role("dialog", name="Confirm that it is you")
        dialog.get_by_role("button", name="Use your passkey").click()
        expect(dialog).to_have_count(0)
        page.goto("/settings/keys")
        expect(page.get_by_text("first API key")).to_be_visible()
