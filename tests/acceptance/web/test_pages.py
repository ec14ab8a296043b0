"""The web interface in Chromium, against a real server: first visit, sign-in, second factor, roles, accessibility."""

import re
import time

import pyotp
import pytest
from playwright.sync_api import expect

from tests.acceptance.web.browser import (
    EMAIL,
    PAGES,
    PASSWORD,
    at_home,
    new_page,
    serious_findings,
    sign_in,
    sign_out,
    signed_in,
    url,
)


def test_the_first_visitor_becomes_the_owner(server, browser):
    code = re.search(r"with the code (\S+)", server.log.read_text())
    assert code is not None
    with new_page(browser, url(server)) as page:
        page.goto("/")
        page.get_by_label("One-time code").fill("a guess")
        page.get_by_label("Email").fill(EMAIL)
        page.get_by_label(re.compile("^Password")).fill(PASSWORD)
        page.get_by_role("button", name="Create the owner").click()
        expect(page.get_by_text("This is not the code that the server printed.").first).to_be_visible()
        # What was typed is still there.
        expect(page.get_by_label("Email")).to_have_value(EMAIL)
        page.get_by_label("One-time code").fill(code[1])
        page.get_by_role("button", name="Create the owner").click()
        at_home(page)
        sign_out(page)
        sign_in(page, EMAIL, PASSWORD)
        at_home(page)


def test_signing_in_leads_back_to_the_page_and_nowhere_else(owned, browser):
    with new_page(browser, url(owned)) as page:
        page.goto("/settings/keys")
        page.get_by_label("Email").fill(EMAIL)
        page.get_by_label("Password", exact=True).fill("not this one")
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_text("The email address or the password is wrong.").first).to_be_visible()
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page).to_have_url(f"{url(owned)}/settings/keys")
    for target in ("https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"):
        with new_page(browser, url(owned)) as page:
            page.goto(f"/sign-in?to={target}&next={target}&redirect={target}&from={target}")
            page.get_by_label("Email").fill(EMAIL)
            page.get_by_label("Password", exact=True).fill(PASSWORD)
            page.get_by_role("button", name="Sign in", exact=True).click()
            expect(page.get_by_role("navigation").first).to_be_visible()
            assert page.url.startswith(url(owned))


def test_the_second_factor_from_set_up_to_recovery_code(owned, browser):
    with signed_in(browser, owned) as page:
        page.goto("/settings")
        page.get_by_role("button", name="Set it up").click()
        expect(page.get_by_role("img", name="QR code for the authenticator app")).to_be_visible()
        secret = re.search(r"(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}", page.inner_text("body"))
        assert secret is not None
        app = pyotp.TOTP(secret[0].replace(" ", ""))
        page.get_by_label("Code that the app shows").fill("000000")
        page.get_by_role("button", name="Turn it on").click()
        expect(page.get_by_label("Code that the app shows")).to_have_attribute("aria-invalid", "true")
        page.get_by_label("Code that the app shows").fill(app.now())
        page.get_by_role("button", name="Turn it on").click()
        expect(page.get_by_role("button", name="I saved them")).to_be_visible()
        codes = re.findall(r"\b(?:[a-z2-7]{4}-){3}[a-z2-7]{4}\b", page.inner_text("body"))
        assert len(set(codes)) == 10
    for code in (app.at(time.time() + 30), codes[0]):
        with new_page(browser, url(owned)) as page:
            sign_in(page, EMAIL, PASSWORD)
            page.get_by_label("Code").fill("000000")
            page.get_by_role("button", name="Continue").click()
            expect(page.get_by_label("Code")).to_have_attribute("aria-invalid", "true")
            page.get_by_label("Code").fill(code)
            page.get_by_role("button", name="Continue").click()
            at_home(page)


# axe looks at thirty pages, beside other tests.
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 1280), (False, 320), (True, 320)])
def test_every_page_is_accessible_and_fits(owned, browser, dark, width):
    api = owned.api()
    api.post("/v1/lists", {"name": "News"}, status=201)
    owned.tracker().post("/v1/track", {"userId": "ada", "event": "Order Shipped", "properties": {"total": 99.5}})
    with new_page(browser, url(owned), dark=dark, width=width) as page:
        page.goto("/sign-in")
        expect(page.get_by_label("Email")).to_be_visible()
        wrong = [f"/sign-in {finding}" for finding in serious_findings(page)]
        sign_in(page, EMAIL, PASSWORD)
        at_home(page)
        for path in PAGES:
            page.goto(path)
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            expect(page.locator("[aria-busy=true]")).to_have_count(0)
            wrong += [f"{path} {finding}" for finding in serious_findings(page)]
            for direction in ("ltr", "rtl"):
                page.evaluate("direction => { document.documentElement.dir = direction }", direction)
                wide = page.evaluate("() => document.documentElement.scrollWidth")
                if wide > width:
                    wrong.append(f"{path} is {wide} px wide, {direction}")
    assert not wrong


def test_a_viewer_sees_nothing_to_change(owned, browser):
    made = owned.run("users", "add", "--email", "eve@example.com", "--role", "viewer", "--password", PASSWORD, "--json")
    assert made.returncode == 0, made.stderr
    with new_page(browser, url(owned)) as page:
        sign_in(page, "eve@example.com", PASSWORD)
        at_home(page)
        page.goto("/settings/keys")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_role("button", name=re.compile("create|new|rotate|delete", re.IGNORECASE))).to_have_count(0)
        page.goto("/settings/audit")
        expect(page.get_by_text("audit.read")).to_be_visible()


def test_the_page_survives_a_kill_of_the_server(owned, browser):
    with signed_in(browser, owned) as page:
        owned.kill()
        owned.start()
        page.goto("/settings/keys")
        expect(page.get_by_role("heading", level=1)).to_have_text("API keys")


def test_a_webhook_is_made_and_an_event_appears_by_itself(owned, browser, sink):
    with signed_in(browser, owned) as page:
        page.get_by_role("link", name="Webhooks").click()
        page.get_by_role("link", name="New webhook").first.click()
        page.get_by_label("URL").fill(f"{sink.url}/hook/browser")
        page.get_by_label("All events (*)").check()
        page.get_by_role("button", name="Create the webhook").click()
        expect(page.get_by_text(re.compile(r"whsec_\S+"))).to_be_visible()
        page.get_by_role("link", name="Events", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Events")
        owned.tracker().post("/v1/track", {"userId": "ada", "event": "Order Shipped", "properties": {"total": 99.5}})
        # Nobody loads the page again.
        expect(page.get_by_text("event.order_shipped").first).to_be_visible()
        owned.settled()
        page.get_by_role("link", name="Webhooks").click()
        expect(page.get_by_role("row").filter(has_text="hook/browser")).to_contain_text("1")
        page.get_by_role("link", name="Settings").click()
        page.get_by_role("link", name="Audit log").click()
        expect(page.get_by_role("button", name="create webhook")).to_be_visible()
        assert "whsec_" not in page.inner_text("body")
