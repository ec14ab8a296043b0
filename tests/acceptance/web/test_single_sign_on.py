"""Single sign-on in Chromium: set up in the settings, then used by somebody new, while the server restarts."""

import contextlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.acceptance.programs import Server
from tests.acceptance.web.browser import PATIENCE_MS, at_home, field, serious_findings, sign_out, signed_in, url
from tests.oidc import CLIENT_ID, CLIENT_SECRET, OidcProvider, oidc_provider


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    with oidc_provider() as found:
        found.has_page = True
        found.person |= {"email": "bob@example.com", "name": "Bob"}
        yield found


@pytest.fixture
def sign_on_server(owned: Server) -> Server:
    """The server with the address under which browsers keep its cookies as its public URL."""
    owned.stop()
    owned.environment["WAYPOST_PUBLIC_URL"] = url(owned)
    owned.start()
    return owned


@contextlib.contextmanager
def outside(browser: Browser, server: Server) -> Iterator[tuple[BrowserContext, Page]]:
    """A browser of somebody else, which may leave the server for the provider."""
    context = browser.new_context(base_url=url(server))
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on(
        "console",
        lambda said: wrong.append(f"console: {said.text}") if "Content Security Policy" in said.text else None,
    )
    try:
        yield context, page
    finally:
        context.close()
    assert not wrong, wrong


def ask(page: Page, email: str) -> None:
    """Give the address on the sign-in page."""
    page.get_by_role("button", name="Single sign-on").click()
    page.get_by_label("Work email").fill(email)
    page.get_by_role("button", name="Continue").click()


def test_from_the_settings_to_a_new_person_and_out_again(sign_on_server, browser, provider):
    server = sign_on_server
    with signed_in(browser, server) as page:
        page.goto("/settings/single-sign-on")
        expect(page.get_by_role("heading", level=1)).to_have_text("Single sign-on")
        expect(page.get_by_text(f"{url(server)}/v1/single-sign-on/callback")).to_be_visible()
        field(page, "Issuer").fill(f"{provider.issuer}/wrong")
        page.get_by_role("button", name="Check").click()
        expect(page.get_by_text("answered 404")).to_be_visible()
        field(page, "Issuer").fill(provider.issuer)
        page.get_by_role("button", name="Check").click()
        expect(page.get_by_text("The provider answers as it should")).to_be_visible()
        assert not serious_findings(page)
        field(page, "Client ID").fill(CLIENT_ID)
        field(page, "Client secret").fill(CLIENT_SECRET)
        field(page, "Domains of email addresses").fill("example.com")
        page.get_by_label("People who are not in the workspace yet").select_option("Join as viewer")
        page.get_by_role("button", name="Turn single sign-on on").click()
        expect(page.get_by_role("button", name="Turn it off")).to_be_visible()

    with outside(browser, server) as (context, page):
        page.goto("/settings/people")
        page.get_by_role("button", name="Single sign-on").click()
        assert not serious_findings(page)
        page.get_by_role("button", name="Sign in another way").click()
        ask(page, "bob@example.org")
        expect(page.get_by_role("alert")).to_contain_text("No workspace here has single sign-on for example.org.")
        page.get_by_label("Work email").fill("bob@example.com")
        page.get_by_role("button", name="Continue").click()
        continue_ = page.get_by_role("link", name="Continue as Ada")
        expect(continue_).to_be_visible()
        assert page.url.startswith(provider.issuer)
        # What was begun before a restart is finished after it.
        server.stop()
        server.start()
        continue_.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("People and roles")
        expect(page.get_by_role("row").filter(has_text="bob@example.com")).to_contain_text("viewer")
        names = {cookie["name"]: cookie for cookie in context.cookies()}
        assert names.keys() == {"__Host-waypost"}
        assert names["__Host-waypost"]["httpOnly"]
        page.goto("/settings")
        expect(page.get_by_text("You signed in by single sign-on")).to_be_visible()
        assert not serious_findings(page)
        page.goto("/")
        at_home(page)

        sign_out(page)
        provider.claims = {"nonce": "of somebody else"}
        ask(page, "bob@example.com")
        continue_.click()
        expect(page.get_by_role("alert")).to_contain_text("What your company's sign-in page said was not accepted.")
        assert not serious_findings(page)
        provider.claims = {}
        ask(page, "bob@example.com")
        continue_.click()
        at_home(page)
