"""A connection to AWS Pinpoint in the browser: refused with each set-up code, accepted, and checked again later."""

import re
from typing import Any

from playwright.sync_api import Page, expect

from tests.acceptance.programs import Client
from tests.acceptance.web.browser import facts, field, open_page, signed_in
from waypost.domain.providers.setup_checks import PINPOINT
from waypost.sink import thread_runner

PROJECT = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


def set_up(sink: thread_runner.Running, path: str, settings: dict[str, Any]) -> None:
    """Change the AWS account that the sink plays."""
    answer = Client(sink.port).send("PUT", path, settings)
    assert answer is not None
    assert answer[0] == 200, answer


def fill_in(page: Page, sink: thread_runner.Running) -> None:
    """Choose the connector and fill in everything but the project."""
    open_page(page, "Connections")
    page.get_by_role("link", name="New connection").first.click()
    page.get_by_label("Search providers").fill("pinpoint")
    page.get_by_role("link", name="Choose AWS Pinpoint").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("New connection to AWS Pinpoint")
    values = {
        "Name": "Pinpoint Promo",
        "Region": "us-east-1",
        "Access key": "AKIAIOSFODNN7EXAMPLE",
        "Secret key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "Endpoint URL": sink.url,
    }
    for label, value in values.items():
        field(page, label).fill(value)


def test_pinpoint_is_refused_with_each_code_and_then_accepted(owned, browser, sink):
    api = owned.api()
    with signed_in(browser, owned) as page:
        fill_in(page, sink)
        # What a person enters at AWS is what the page says.
        tracker_url = page.get_by_role("region", name="Where the provider reports to").inner_text().strip()
        set_up(sink, "/aws", {"tracker_url": tracker_url})
        refusal = page.get_by_role("alert").filter(has_text="The set-up check did not pass")
        assert PINPOINT.codes.keys() == set(range(2001, 2007))
        for code, known in PINPOINT.codes.items():
            field(page, "Project ID").fill(f"{code:08}{PROJECT[8:]}")
            page.get_by_role("button", name="Add the connection", exact=True).click()
            expect(refusal.get_by_text(str(code), exact=True)).to_be_visible()
            expect(refusal).to_contain_text(known.meaning)
            expect(refusal.get_by_role("listitem")).to_have_text(list(known.resolution))
            expect(refusal).to_contain_text("Nothing was stored.")
        expect(refusal).to_contain_text("https://elsewhere.example/tracking/amazon-pinpoint-events")
        assert api.get("/v1/connections")["data"] == []

        field(page, "Project ID").fill(PROJECT)
        page.get_by_role("button", name="Add the connection", exact=True).click()
        access_key = page.get_by_role("region", name="The access key for receipts").inner_text().strip()
        set_up(sink, "/aws", {"tracker_url": tracker_url, "access_key": access_key})
        page.get_by_role("link", name="Go to the connection").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Pinpoint Promo")
        assert facts(page.get_by_role("region", name="State", exact=True))["Status"] == "Enabled"
        check = page.get_by_role("region", name="Set-up check")
        expect(check).to_contain_text("The set-up works.")
        guide = page.get_by_role("region", name="Set-up guide")
        expect(guide.get_by_role("region", name="Tracker URL")).to_have_text(tracker_url)
        expect(guide.get_by_role("region", name="IAM policy")).to_contain_text(f"apps/{PROJECT}/messages")

        test = page.get_by_role("region", name="Test message")
        field(test, "To").fill("+12025550101")
        test.get_by_role("button", name="Send test message").click()
        expect(test).to_contain_text("The provider took it.")
        expect(test).to_contain_text(f"/v1/apps/{PROJECT}/messages")

        # Later somebody breaks the stream at AWS, and mends it.
        set_up(sink, "/aws/streams/receipts", {"status": "CREATING"})
        check.get_by_role("button", name="Run the check again").click()
        expect(check).to_contain_text(PINPOINT.codes[2004].meaning)
        expect(check).to_contain_text(PINPOINT.codes[2004].resolution[0])
        set_up(sink, "/aws/streams/receipts", {})
        check.get_by_role("button", name="Run the check again").click()
        expect(check).to_contain_text("The set-up works.")

        # The receipt finds its way back, past the key for receipts, and onto the page.
        open_page(page, "Messages")
        api.post("/v1/messages", {"channel": "sms", "to": "+12025550109", "text": "Hello"}, status=202)
        row = page.get_by_role("row").filter(has_text="+12025550109")
        expect(row).to_contain_text(re.compile("delivered", re.IGNORECASE))


def test_connections_are_dragged_into_their_order(owned, browser, sink):
    api = owned.api()
    config = {"url": f"{sink.url}/gateway/send", "auth": "bearer", "token": "made-up"}
    for name in ("First", "Second", "Third"):
        api.post("/v1/connections", {"name": name, "connector": "http", "config": config}, status=201)
    with signed_in(browser, owned) as page:
        open_page(page, "Connections")
        names = page.get_by_role("table", name="Text messages").get_by_role("link")
        expect(names).to_have_text(["First", "Second", "Third"])
        target = page.get_by_role("row").filter(has_text="Third")
        page.get_by_title("Drag First to another place").drag_to(target)
        expect(names).to_have_text(["Second", "Third", "First"])
        page.get_by_role("button", name="Move First up").press("Enter")
        expect(names).to_have_text(["Second", "First", "Third"])
        page.reload()
        expect(names).to_have_text(["Second", "First", "Third"])
