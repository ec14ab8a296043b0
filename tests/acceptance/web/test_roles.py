"""Each role in the browser: the same pages for all, buttons for what it may change, and nothing that is refused."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.programs import Server, eventually
from tests.acceptance.web.browser import EMAIL, PASSWORD, signed_in

PAGES = [
    "Home",
    "People",
    "Segments",
    "Templates",
    "Campaigns",
    "Messages",
    "Connections",
    "Webhooks",
    "Events",
    "Settings",
]
EVERYBODY = "owner admin marketer developer viewer"
#: The tabs of the settings, and who sees each.
TABS = {
    "Your account": EVERYBODY,
    "Workspace": EVERYBODY,
    "People and roles": EVERYBODY,
    "Single sign-on": EVERYBODY,
    "API keys": EVERYBODY,
    "API + Connectors": EVERYBODY,
    "Sending rules": EVERYBODY,
    "Senders": EVERYBODY,
    "Tracking": EVERYBODY,
    "Text clients": EVERYBODY,
    "Audit log": "owner admin developer",
}
PEOPLE, SERVER, CONTENT = "owner admin marketer", "owner admin developer", "owner admin marketer developer"
#: What changes something on each page, and who sees it. A {name} is the id of something that exists.
BUTTONS: tuple[tuple[str, str, str], ...] = (
    ("/people", "Add a person", PEOPLE),
    ("/people/lists", "New list", PEOPLE),
    ("/people/imports", "Import a file", PEOPLE),
    ("/people/suppressions", "Suppress an address", PEOPLE),
    ("/people/{profiles}", "Erase", PEOPLE),
    ("/segments", "New segment", PEOPLE),
    ("/segments/{segments}", "Delete", PEOPLE),
    ("/segments/{segments}", "Save", PEOPLE),
    ("/templates", "New template", CONTENT),
    ("/templates/{templates}", "Save", CONTENT),
    ("/campaigns", "New campaign", PEOPLE),
    ("/campaigns/{campaigns}", "Delete", PEOPLE),
    ("/campaigns/{campaigns}/edit?step=review", "Send the test", PEOPLE),
    ("/connections", "New connection", SERVER),
    ("/connections/{connections}", "Send test message", SERVER),
    ("/webhooks", "New webhook", SERVER),
    ("/webhooks/{webhooks}", "Send test event", SERVER),
    ("/webhooks/{webhooks}", "Show the secret", SERVER),
    ("/webhooks/{webhooks}/replays", "Start the replay", SERVER),
    ("/settings/workspace", "Save", SERVER),
    ("/settings/people", "Invite", "owner admin"),
    ("/settings/keys", "New key", SERVER),
    ("/settings/texts", "New text client", SERVER),
)
#: Pages that make or change something, by their addresses: who may not is told which roles may.
MAKING: tuple[tuple[str, str, str], ...] = (
    ("/segments/new", "people.write", PEOPLE),
    ("/templates/new", "templates.write", CONTENT),
    ("/campaigns/new", "campaigns.write", PEOPLE),
    ("/connections/new", "connections.write", SERVER),
    ("/webhooks/new", "webhooks.write", SERVER),
    ("/webhooks/{webhooks}/edit", "webhooks.write", SERVER),
    ("/settings/audit", "audit.read", TABS["Audit log"]),
)
OTHERS = ("/", "/messages", "/events", "/events/metrics", "/settings", "/settings/api")


def make_world(server: Server, sink: Any) -> dict[str, str]:
    """Make one thing of each kind; return the ids."""
    api = server.api()
    server.tracker().post("/v1/track", {"userId": "ada", "event": "Order Shipped", "properties": {"total": 9.5}})
    config = {"host": "127.0.0.1", "port": sink.smtp_port, "security": "none", "from_email": "shop@example.com"}
    template = {"name": "News", "channel": "email", "subject": "Hi", "html": "<p>Hi {{ person.first_name }}</p>"}
    made = {
        "segments": api.post("/v1/segments", {"name": "Pro", "condition": {"tag": "vip"}}, status=201)["id"],
        "templates": api.post("/v1/templates", template, status=201)["id"],
        "connections": api.post("/v1/connections", {"name": "Mail", "connector": "smtp", "config": config}, status=201)[
            "id"
        ],
        "webhooks": api.post("/v1/webhooks", {"url": f"{sink.url}/hook/roles", "event_types": ["event.*"]}, status=201)[
            "id"
        ],
    }
    campaign = {
        "name": "Spring",
        "channel": "email",
        "template_id": made["templates"],
        "audience": {"segments": [made["segments"]]},
    }
    made["campaigns"] = api.post("/v1/campaigns", campaign, status=201)["id"]
    people = eventually(lambda: api.get("/v1/profiles?user_id=ada")["data"], what="the person")
    return made | {"profiles": people[0]["id"]}


def look(page: Page, path: str) -> None:
    """Open a page and wait until everything on it is there."""
    page.goto(path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator("[aria-busy=true]")).to_have_count(0)


@pytest.mark.parametrize("role", EVERYBODY.split())
def test_each_role_sees_what_it_may(owned, browser, sink, role):
    world = make_world(owned, sink)
    email = EMAIL
    if role != "owner":
        email = f"{role}@example.com"
        made = owned.run("users", "add", "--email", email, "--role", role, "--password", PASSWORD)
        assert made.returncode == 0, made.stderr
    with signed_in(browser, owned, email) as page:
        refused: list[str] = []
        page.on(
            "response",
            lambda answer: refused.append(f"{page.url}: {answer.url}") if answer.status == 403 else None,
        )
        links = page.get_by_role("navigation", name="Main").get_by_role("link")
        expect(links).to_have_text(PAGES)
        for path, name, roles in BUTTONS:
            look(page, path.format(**world))
            button = page.get_by_role("button", name=name, exact=True).or_(
                page.get_by_role("link", name=name, exact=True)
            )
            if role in roles.split():
                expect(button.first, f"{name} on {path}").to_be_visible()
            else:
                expect(button, f"{name} on {path}").to_have_count(0)
        # Previews change nothing, so everybody sees them.
        look(page, f"/segments/{world['segments']}")
        expect(page.get_by_role("region", name="Who fits now")).to_contain_text("Nobody fits")
        look(page, f"/templates/{world['templates']}")
        expect(page.get_by_title("Preview of the mail")).to_be_visible()
        look(page, f"/campaigns/{world['campaigns']}/edit?step=review")
        expect(page.get_by_role("table", name="Who gets it")).to_contain_text("Will get it")
        expect(page.get_by_title("Preview of the message")).to_be_visible()
        for path in OTHERS:
            look(page, path)
        look(page, "/settings")
        tabs = [name for name, roles in TABS.items() if role in roles.split()]
        expect(page.get_by_role("navigation", name="Settings").get_by_role("link")).to_have_text(tabs)
        for path, permission, roles in MAKING:
            look(page, path.format(**world))
            title = page.get_by_role("heading", level=1)
            if role in roles.split():
                expect(title, path).not_to_have_text("You cannot open this page")
            else:
                expect(title, path).to_have_text("You cannot open this page")
                expect(page.get_by_text(f"It needs the permission {permission}.")).to_be_visible()
                having = ", ".join(roles.split())
                expect(page.get_by_text(f"Roles that have it: {having}. Yours is {role}.")).to_be_visible()
        assert not refused
