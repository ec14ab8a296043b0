"""The page of a person and the suppressions in the browser: typed beside live events, and followed from a message."""

from typing import Any

from playwright.sync_api import expect

from tests.acceptance.programs import Server, eventually
from tests.acceptance.web.browser import field, open_page, signed_in, url

MAIL = {"channel": "email", "to": "ada@example.com", "subject": "Spring", "text": "Hello"}


def make_person(server: Server) -> str:
    """Make a person by an event; return the id."""
    server.tracker().post("/v1/identify", {"userId": "ada", "traits": {"plan": "pro", "email": "ada@example.com"}})
    found = eventually(lambda: server.api().get("/v1/profiles?user_id=ada")["data"], what="the person")
    return str(found[0]["id"])


def settled(server: Server, message: str) -> dict[str, Any] | None:
    """Return a message that is sent or skipped."""
    found: dict[str, Any] = server.api().get(f"/v1/messages/{message}")
    return found if found["status"] in ("sent", "delivered", "skipped") else None


def test_what_is_typed_about_a_person_stays_while_events_come_in(owned, browser):
    person = make_person(owned)
    owned.api().post("/v1/lists", {"name": "News"}, status=201)
    with signed_in(browser, owned) as page:
        page.goto(f"/people/{person}")
        part = page.get_by_role("region", name="Traits", exact=True)
        part.get_by_role("button", name="Change").click()
        typed = '{"plan": "free", "email": "ada@example.com"}'
        field(page, "Traits as JSON").fill(typed)
        owned.tracker().post("/v1/identify", {"userId": "ada", "traits": {"visits": 2}})
        expect(page.get_by_text("Somebody else has saved this in the meantime")).to_be_visible()
        expect(field(page, "Traits as JSON")).to_have_value(typed)
        page.get_by_role("button", name="Keep mine").click()
        page.get_by_role("button", name="Save").click()
        expect(part).to_contain_text("free")
        expect(part).to_contain_text("visits")
        page.get_by_role("button", name="Add an identifier").click()
        form = page.get_by_role("form", name="Add an identifier")
        form.get_by_label("Email").fill("ada@work.example")
        form.get_by_role("button", name="Add").click()
        expect(page.get_by_role("region", name="Identifiers")).to_contain_text("ada@work.example")
        lists = page.get_by_role("region", name="On lists")
        field(lists, "List").select_option("News")
        lists.get_by_role("button", name="Add to the list").click()
        expect(lists.get_by_role("link", name="News")).to_be_visible()


def test_a_suppression_is_followed_from_a_message_and_lifted(owned, browser, sink):
    api, person = owned.api(), make_person(owned)
    config = {"host": "127.0.0.1", "port": sink.smtp_port, "security": "none", "from_email": "shop@example.com"}
    api.post("/v1/connections", {"name": "Mail", "connector": "smtp", "config": config}, status=201)
    with signed_in(browser, owned) as page:
        open_page(page, "People", "Suppressions")
        page.get_by_role("button", name="Suppress an address").first.click()
        form = page.get_by_role("form", name="Suppress an address")
        field(form, "Address").fill("Ada@Example.com")
        field(form, "Reason").fill("legal")
        form.get_by_role("button", name="Suppress an address").click()
        expect(page.get_by_role("row").filter(has_text="ada@example.com")).to_contain_text("legal")
        skipped = api.post("/v1/messages", MAIL, status=202)["id"]
        found = eventually(lambda: settled(owned, skipped), what="the skipped message")
        assert (found["status"], found["reason"]) == ("skipped", "suppressed")
        page.goto(f"/people/{person}")
        expect(page.get_by_role("link", name="Suppressed: legal")).to_be_visible()
        page.goto(f"/messages/{skipped}")
        page.get_by_role("link", name="See why the address is suppressed").click()
        expect(page).to_have_url(f"{url(owned)}/people/suppressions?address=ada%40example.com&channel=email")
        page.get_by_role("button", name="Lift the suppression of ada@example.com, email").click()
        page.get_by_role("dialog").get_by_role("button", name="Lift").click()
        expect(page.get_by_role("row").filter(has_text="ada@example.com")).to_have_count(0)
        sent = api.post("/v1/messages", MAIL | {"subject": "Summer"}, status=202)["id"]
        assert eventually(lambda: settled(owned, sent), what="the message")["status"] in ("sent", "delivered")
