"""Pictures of the web interface: `python -m tests.screenshots` starts the demo, signs in and takes them.

The ten of SHOWN stand in `docs/pictures`, in light and dark; `tests/test_docs.py` checks that the manual shows them.
The other pages go into `build/pictures`, to be looked at.
"""

import base64
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Page, expect

from tests.acceptance.programs import WAYPOST, Client, eventually, free_port
from tests.acceptance.web.browser import PAGES, at_home, new_page, running_browser, sign_in

ROOT = Path(__file__).parents[1]
DOCS_PICTURES = ROOT / "docs" / "pictures"
OTHER_PICTURES = ROOT / "build" / "pictures"
SCHEMES = ("light", "dark")
#: Small enough that a clone stays small, and large enough to read.
QUALITY = 80
WIDTH, HEIGHT = 1280, 860
#: Events a second.
RATE = "20"


class Shown(NamedTuple):
    """A page of the manual."""

    name: str
    #: With the ids of the demo, which `find` returns.
    path: str
    #: Role and name of what comes last on the page.
    last: tuple[Any, str]


SHOWN = (
    Shown("home", "/", ("region", "Latest events")),
    Shown("person", "/people/{person}", ("region", "Timeline")),
    Shown("segment", "/segments/{segment}", ("region", "Who fits now")),
    Shown("template", "/templates/{template}", ("textbox", "HTML of the mail")),
    Shown("campaign", "/campaigns/{campaign}", ("region", "Numbers")),
    Shown("message", "/messages/{message}", ("heading", "History")),
    Shown("connection", "/connections/{connection}", ("region", "Set-up guide")),
    Shown("webhook", "/webhooks/{webhook}", ("region", "Ledger")),
    Shown("events", "/events", ("table", "Events")),
    Shown("settings", "/settings/people", ("table", "People and roles")),
)


@contextmanager
def running_demo(folder: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The demo; gives its port and its keys."""
    port = free_port()
    arguments = ["--data", str(folder / "demo"), "--port", str(port), "--sink-port", str(free_port()), "--rate", RATE]
    with (folder / "demo.log").open("wb") as log:
        process = subprocess.Popen([WAYPOST, "demo", *arguments], stdout=log, stderr=log)
    keys = folder / "demo" / "demo-keys.json"
    try:
        eventually(
            lambda: keys.exists() and "waypost demo" in (folder / "demo.log").read_text("utf-8"), what="the demo"
        )
        yield port, json.loads(keys.read_text("utf-8"))
    finally:
        process.terminate()
        process.wait(60)


def find(api: Client) -> dict[str, str]:
    """Wait until there is something to see; add what the demo has not; return the ids of what is shown."""
    condition = {
        "all": [
            {"event": "Order Completed", "at_least": 1, "within": "30d"},
            {"any": [{"subscribed": "email"}, {"subscribed": "sms"}]},
        ]
    }
    segment = api.post("/v1/segments", {"name": "Ordered lately", "condition": condition}, status=201)
    for role, name in (("marketer", "grace"), ("developer", "alan"), ("viewer", "barbara")):
        api.post("/v1/invitations", {"email": f"{name}@example.com", "role": role}, status=201)
    campaign = api.get("/v1/campaigns")["data"][0]["id"]
    eventually(lambda: api.get(f"/v1/campaigns/{campaign}")["state"] == "finished", within=300, what="the newsletter")
    eventually(lambda: api.get(f"/v1/campaigns/{campaign}/overview")["clicks"]["unique"] > 20, what="clicks")

    def broken() -> str | None:
        found = [one["id"] for one in api.get("/v1/webhooks")["data"] if one["status"] == "disabled"]
        return found[0] if found else None

    texts = eventually(lambda: api.get("/v1/messages?status=delivered&limit=1000")["data"], what="messages")
    return {
        "segment": segment["id"],
        "campaign": campaign,
        "webhook": eventually(broken, what="a disabled endpoint"),
        "person": api.get("/v1/profiles?email=ada@example.com")["data"][0]["id"],
        "template": next(one["id"] for one in api.get("/v1/templates")["data"] if one["name"] == "Newsletter"),
        "message": next(one["id"] for one in texts if one["channel"] == "sms"),
        "connection": next(one["id"] for one in api.get("/v1/connections")["data"] if one["channel"] == "sms"),
    }


def take(page: Page, file: Path) -> None:
    """Take a picture of what can be seen of a page. WebP is a third of PNG, and only the browser itself makes it."""
    page.evaluate("() => document.fonts.ready")
    session = page.context.new_cdp_session(page)
    taken = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    session.detach()
    file.write_bytes(base64.b64decode(taken["data"]))
    sys.stdout.write(f"{file.relative_to(ROOT)} {file.stat().st_size:,} bytes\n")


def look(page: Page, path: str) -> None:
    """Open a page and wait until it has loaded."""
    page.goto(path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator("[aria-busy=true]")).to_have_count(0)


def main() -> None:
    """Take all pictures."""
    for place in (DOCS_PICTURES, OTHER_PICTURES):
        place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="waypost-pictures-") as folder, running_demo(Path(folder)) as (port, keys):
        ids = find(Client(port, f"Bearer {keys['api_key']}"))
        others = [path for path in PAGES if path not in {shown.path for shown in SHOWN}]
        with running_browser() as browser:
            for scheme in SCHEMES:
                url = f"http://localhost:{port}"
                with new_page(browser, url, dark=scheme == "dark", width=WIDTH, height=HEIGHT) as page:
                    sign_in(page, keys["email"], keys["password"])
                    at_home(page)
                    for name, path, (role, last) in SHOWN:
                        look(page, path.format(**ids))
                        expect(page.get_by_role(role, name=last).first).to_be_visible()
                        if name == "template":
                            mail = page.frame_locator("iframe[title='Preview of the mail']")
                            expect(mail.get_by_text("What is new this week.")).to_be_visible()
                        take(page, DOCS_PICTURES / f"{name}-{scheme}.webp")
                    for other in others:
                        look(page, other)
                        title = re.sub(r"\W+", "-", other.strip("/"))
                        take(page, OTHER_PICTURES / f"{title}-{scheme}.webp")


if __name__ == "__main__":
    main()
