"""A real browser for the acceptance tests: Debian's Chromium, driven by Playwright."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.acceptance.programs import Server

ROOT = Path(__file__).parents[3]
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
STATIC = ROOT / "src" / "waypost" / "web" / "static" / "index.html"
#: The names under which systems install it.
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_MS = 20_000
#: Who owns the server of the tests.
EMAIL, PASSWORD = "ada@example.com", "correct horse battery"
#: The pages that need no id.
PAGES = (
    "/",
    "/people",
    "/segments",
    "/templates",
    "/campaigns",
    "/messages",
    "/connections",
    "/webhooks",
    "/events",
    "/settings",
    "/settings/workspace",
    "/settings/people",
    "/settings/single-sign-on",
    "/settings/keys",
    "/settings/audit",
    "/settings/api",
    "/settings/sending-rules",
    "/settings/senders",
    "/settings/tracking",
    "/settings/texts",
    "/people/lists",
    "/people/imports",
    "/people/suppressions",
    "/segments/new",
    "/templates/new",
    "/campaigns/new",
    "/connections/new",
    "/webhooks/new",
    "/events/metrics",
)


def url(server: Server) -> str:
    """Return the address under which browsers keep the cookie of a server without https."""
    return f"http://localhost:{server.port}"


def find_chromium() -> str:
    """Return the path of the browser; without one, skip the test, which fails in CI."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    if not STATIC.exists():
        pytest.skip("the web interface is not built (make web)")
    return found


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser without a window."""
    path = find_chromium()
    expect.set_options(timeout=PATIENCE_MS)
    # Its sandbox cannot start as root, and containers have a small /dev/shm.
    arguments = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def new_page(browser: Browser, url: str, *, dark: bool = False, width: int = 1280, height: int = 900) -> Iterator[Page]:
    """A page in a browser of its own that fails on errors of scripts, and on requests to other hosts."""
    context = browser.new_context(
        base_url=url, color_scheme="dark" if dark else "light", viewport={"width": width, "height": height}
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((url, "data:", "blob:")) else wrong.append(f"request: {request.url}")
        ),
    )
    page.on(
        "console",
        lambda said: wrong.append(f"console: {said.text}") if "Content Security Policy" in said.text else None,
    )
    try:
        yield page
    finally:
        context.close()
    assert not wrong, wrong


def sign_in(page: Page, email: str, password: str) -> None:
    """Sign in with a password."""
    page.goto("/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


@contextmanager
def signed_in(browser: Browser, server: Server, email: str = EMAIL, **options: Any) -> Iterator[Page]:
    """A page of somebody who has signed in and sees the home page."""
    with new_page(browser, url(server), **options) as page:
        sign_in(page, email, PASSWORD)
        at_home(page)
        yield page


def sign_out(page: Page) -> None:
    """Sign out; the page is loaded anew, and nothing is clicked in the one that goes away."""
    page.get_by_role("button", name=re.compile("^Account of")).click()
    with page.expect_event("load"):
        page.get_by_role("menuitem", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()


def at_home(page: Page) -> None:
    """Wait for the home page."""
    expect(page.get_by_role("heading", level=1)).to_have_text("Home")


def open_page(page: Page, *names: str) -> None:
    """Go to a page by the names of its links in the navigation and the tabs."""
    for name in names:
        page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(names[-1])


def field(place: Page | Locator, label: str) -> Locator:
    """Return the field with this label, which may be marked as required."""
    return place.get_by_label(re.compile(rf"^{re.escape(label)}( \*)?$"))


def facts(place: Locator) -> dict[str, str]:
    """Return the names and values that a part of the page lists."""
    names, values = (place.get_by_role(role).all_inner_texts() for role in ("term", "definition"))
    return dict(zip(names, values, strict=True))


def serious_findings(page: Page) -> list[str]:
    """Return what axe finds serious or critical on a page."""
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
