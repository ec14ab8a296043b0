"""A real browser for the acceptance tests: Debian's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
STATIC = ROOT / "src" / "waypost" / "web" / "static" / "index.html"
#: The names under which systems install it.
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_MS = 20_000


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
def new_page(browser: Browser, url: str, *, dark: bool = False, width: int = 1280) -> Iterator[Page]:
    """A page in a browser of its own that fails on errors of scripts, and on requests to other hosts."""
    context = browser.new_context(
        base_url=url, color_scheme="dark" if dark else "light", viewport={"width": width, "height": 900}
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


def serious_findings(page: Page) -> list[str]:
    """Return what axe finds serious or critical on a page."""
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
