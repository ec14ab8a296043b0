"""An endpoint in the browser that fails, is disabled, is mended, enabled and replayed; nothing is lost."""

import json

from playwright.sync_api import expect

from tests.acceptance.programs import Client, Server, all_received, eventually
from tests.acceptance.web.browser import facts, field, open_page, signed_in

NAME = "repaired"


def track(server: Server, *message_ids: str) -> None:
    tracker = server.tracker()
    for message_id in message_ids:
        tracker.post("/v1/track", {"userId": "ada", "event": "Order Shipped", "messageId": message_id})


def test_an_endpoint_fails_is_disabled_mended_and_replayed(owned, browser, sink):
    receiver = Client(sink.port)
    receiver.send("PUT", f"/behaviour/{NAME}", {"status": 503, "body": "closed for repairs"})
    failed, missed = ["failed-1", "failed-2"], ["missed-1", "missed-2", "missed-3"]
    with signed_in(browser, owned) as page:
        open_page(page, "Webhooks")
        page.get_by_role("link", name="New webhook").first.click()
        field(page, "URL").fill(f"{sink.url}/hook/{NAME}")
        page.get_by_label("All events (*)").check()
        page.get_by_role("button", name="Create the webhook").click()
        page.get_by_role("link", name="Go to the webhook").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"{sink.url}/hook/{NAME}")

        track(owned, *failed)
        # The banner comes by itself.
        banner = page.get_by_role("status").filter(has_text="This webhook is disabled")
        expect(banner).to_contain_text("It took nothing for the whole schedule of retries.")
        expect(banner).to_contain_text("The receiver answered 503. Only 200 to 299 count.")
        track(owned, *missed)

        # What exactly does the receiver answer? And once more after it is mended.
        test = page.get_by_role("region", name="Send test event")
        test.get_by_role("button", name="Send test event").click()
        expect(test).to_contain_text("The receiver did not take it.")
        expect(test).to_contain_text("closed for repairs")
        receiver.send("DELETE", f"/behaviour/{NAME}")
        test.get_by_role("button", name="Send test event").click()
        expect(test).to_contain_text("The receiver took it.")

        banner.get_by_role("button", name="Enable and replay").click()
        expect(banner).to_have_count(0)
        settings = page.get_by_role("region", name="Settings", exact=True)
        eventually(lambda: facts(settings)["Status"] == "Enabled", within=20, what="enabled")
        ledger = page.get_by_role("region", name="Ledger")
        balanced = {"Accepted": "5", "Delivered": "5", "Pending": "0", "Dead": "0"}
        eventually(lambda: facts(ledger) == balanced, within=20, what=f"all delivered, not {facts(ledger)}")
        ledger.get_by_role("button", name="Count again").click()
        expect(ledger).to_contain_text("accepted equals delivered, pending and dead together")

        page.get_by_role("navigation").get_by_role("link", name="Replays").click()
        replay = page.get_by_role("row").filter(has_text="Done")
        expect(replay).to_contain_text("100%")
        page.get_by_role("navigation").get_by_role("link", name="Deliveries").click()
        expect(page.get_by_role("row").filter(has_text="Delivered")).to_have_count(len(failed + missed))
    bodies = [json.loads(request["body"])["data"] for request in all_received(sink.url, NAME)]
    received = [body["message_id"] for body in bodies if body.get("message_id") in failed + missed]
    # The first two were tried before; what was missed came once.
    assert set(received) == set(failed + missed)
    assert [received.count(one) for one in missed] == [1, 1, 1]
    assert owned.balanced()["delivered"] == len(failed + missed)
