"""Messages through real processes: sent through Pinpoint, receipts from Firehose, killed in between."""

import base64
import functools
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.programs import Callers, Client, Server, eventually
from tests.services import postgres_server
from waypost.sink import thread_runner

CONFIG = {
    "region": "us-east-1",
    "project_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "access_key": "AKIAIOSFODNN7EXAMPLE",
    "secret_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}
SETTLED = {"delivered", "failed", "skipped", "unknown"}


def connect(server: Server, sink: thread_runner.Running) -> dict[str, Any]:
    """Create a Pinpoint connection to the sink, which sends receipts back."""
    outside = Client(sink.port)
    tracker = f"http://127.0.0.1:{server.port}/tracking/amazon-pinpoint-events"
    outside.send("PUT", "/aws", {"tracker_url": tracker})
    wish = {"name": "Pinpoint Promo", "connector": "aws-pinpoint", "config": CONFIG | {"endpoint_url": sink.url}}
    made: dict[str, Any] = server.api().post("/v1/connectors", wish, status=201)
    outside.send("PUT", "/aws", {"tracker_url": tracker, "access_key": made["access_key_for_receipts"]})
    return made


def number(n: int) -> str:
    """Return a phone number without a fixed scenario."""
    return f"+1202{2_000_000 + n * 10 + 5}"


def all_messages(server: Server) -> dict[str, dict[str, Any]]:
    """Return all messages by id."""
    return {message["id"]: message for message in server.api().pages("/v1/messages")}


def taken(sink: thread_runner.Running) -> list[dict[str, Any]]:
    """Return all messages that the provider accepted."""
    return Client(sink.port).pages("/sent?provider=pinpoint")


def test_a_text_goes_out_and_its_receipt_comes_back(server: Server, sink: thread_runner.Running) -> None:
    made = connect(server, sink)
    assert (made["name"], made["connector"], made["status"]) == ("Pinpoint Promo", "aws-pinpoint", "enabled")
    api = server.api()
    api.post("/v1/webhooks", {"url": f"{sink.url}/hook/news", "event_types": ["message.*"]}, status=201)
    answer = api.post("/v1/messages", {"channel": "sms", "to": number(1), "text": "Hi"}, status=202)
    assert answer["status"] == "queued"

    def delivered() -> dict[str, Any] | None:
        message: dict[str, Any] = api.get(f"/v1/messages/{answer['id']}")
        return message if message["status"] == "delivered" else None

    message = eventually(delivered, what="delivered")
    assert [line["status"] for line in message["history"]] == ["queued", "sending", "sent", "delivered"]
    assert (message["code"], message["reason"], message["price"]) == (None, None, 0.00645)
    assert message["provider_message_id"]
    news = eventually(
        lambda: found if len(found := Client(sink.port).get("/received?name=news")["data"]) >= 4 else None
    )
    assert len({record["headers"]["webhook-id"] for record in news}) == 4
    types = [json.loads(record["body"])["type"] for record in news]
    assert sorted(types) == ["message.delivered", "message.queued", "message.sending", "message.sent"]
    bad = api.send("POST", "/v1/messages", {"channel": "sms", "to": "12", "text": "Hi"})
    assert bad is not None
    assert (bad[0], bad[1]["code"]) == (400, "invalid_number")
    counts = {row["status"]: row["count"] for row in api.get("/v1/message-counts")["data"]}
    assert counts == {"queued": 1, "sending": 1, "sent": 1, "delivered": 1}


class Sending(Callers):
    """Clients that request messages one by one, each repeated with its key until it is accepted."""

    def __init__(self, server: Server, clients: int = 4, lanes_from: int = 0) -> None:
        super().__init__(self._ask, range(lanes_from, lanes_from + clients))
        self.server = server
        self.accepted: dict[str, str] = {}

    def _ask(self, lane: int) -> None:
        client, count = self.server.api(), 0
        while not self.stopping.is_set():
            if client.port != self.server.port:
                client = self.server.api()
            to = number(lane * 100_000 + count)
            body = {"channel": "sms", "to": to, "text": "Hi"}
            if eventually(functools.partial(self._accept, client, body), what="accepted") == "accepted":
                count += 1

    def _accept(self, client: Client, body: dict[str, Any]) -> str:
        """Request a message; return the reason why a retry is useless, or None."""
        answer = client.send("POST", "/v1/messages", body, {"idempotency-key": body["to"]})
        if answer is not None and answer[0] == 202:
            self.accepted[body["to"]] = answer[1]["id"]
            return "accepted"
        return "stopped" if self.stopping.is_set() or client.port != self.server.port else ""


def check_fates(messages: dict[str, dict[str, Any]], sent: list[dict[str, Any]]) -> None:
    """No person got two messages, and the result of every message is known or `unknown`."""
    addresses = [message["address"] for message in sent]
    assert len(addresses) == len(set(addresses)), "somebody got two"
    reached = set(addresses)
    for message in messages.values():
        if message["status"] in ("sent", "delivered"):
            assert message["to"] in reached
        else:
            # A message that was being sent at a kill is unknown, and stays so: it may have been sent.
            assert (message["status"], message["reason"]) == ("unknown", "interrupted"), message
    # One message per requested number: a repeated request created no second one.
    assert len({message["to"] for message in messages.values()}) == len(messages)


def test_killed_in_the_middle_of_sends_nobody_gets_two_and_nothing_vanishes(
    tmp_path: Path, sink: thread_runner.Running
) -> None:
    dice = random.Random(20261121)
    server = Server(tmp_path, {"WAYPOST_RETRY_BASE": "0.8"})
    server.init()
    server.start()
    connect(server, sink)
    # Responses take a while, so that a kill meets calls in flight.
    Client(sink.port).send("PUT", "/fate/pinpoint", {"latency": 0.05})
    with Sending(server) as sending:
        for _ in range(6):
            sending.wait_for(dice.randrange(20, 120))
            server.kill()
            server.start()
        sending.wait_for(50)

    def settled() -> dict[str, dict[str, Any]] | None:
        messages = all_messages(server)
        return messages if all(message["status"] in SETTLED for message in messages.values()) else None

    messages = eventually(settled, what="every message settled")
    assert set(sending.accepted.values()) <= messages.keys()
    check_fates(messages, taken(sink))
    listed = server.api().get("/v1/messages?status=unknown&limit=1000")["data"]
    unknown = {id_ for id_, message in messages.items() if message["status"] == "unknown"}
    assert {message["id"] for message in listed} == unknown
    assert server.stop() == 0
    checked = server.run("check")
    assert checked.returncode == 0, checked.stdout


def test_what_waits_survives_a_stop_and_leaves_afterwards(server: Server, sink: thread_runner.Running) -> None:
    connect(server, sink)
    api = server.api()
    batch = {"messages": [{"channel": "sms", "to": number(n), "text": "Hi"} for n in range(50)], "throttle": 20}
    answer = api.post("/v1/messages/batch", batch, status=202)
    assert (answer["accepted"], answer["rejected"]) == (50, 0)
    assert server.stop() == 0
    before = len(taken(sink))
    assert before < 50
    server.start()

    def delivered() -> bool:
        found = all_messages(server).values()
        return len(found) == 50 and all(message["status"] == "delivered" for message in found)

    eventually(delivered, what="all fifty delivered")
    assert len({message["address"] for message in taken(sink)}) == len(taken(sink)) == 50


@pytest.mark.postgres
def test_of_two_processes_on_one_database_one_is_killed_in_the_middle_of_sends(
    tmp_path: Path, sink: thread_runner.Running
) -> None:
    with postgres_server() as postgres:
        environment = {
            "WAYPOST_DATABASE_URL": postgres.url(),
            "WAYPOST_RETRY_BASE": "0.8",
            "WAYPOST_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
        }
        first, second = (Server(tmp_path / name, environment) for name in ("one", "two"))
        for server in (first, second):
            server.data.mkdir()
        first.init()
        second.keys = first.keys
        for server in (first, second):
            server.start()
        connect(second, sink)
        # No receipt reports the result of calls that the dead process had in flight.
        Client(sink.port).send("PUT", "/fate/pinpoint", {"latency": 0.1, "receipts": False})
        with Sending(first, clients=3) as one, Sending(second, clients=3, lanes_from=3) as other:
            one.wait_for(100)
            other.wait_for(100)
            first.kill()
            other.wait_for(50)
            # The clients of the dead process now use the other one, with the same keys.
            one.server = second
            one.wait_for(50)

        def settled() -> dict[str, dict[str, Any]] | None:
            messages = all_messages(second)
            return messages if {message["status"] for message in messages.values()} <= {"sent", "unknown"} else None

        # The dead process is evicted after ten seconds without a heartbeat.
        messages = eventually(settled, what="every message settled")
        assert {*one.accepted.values(), *other.accepted.values()} <= messages.keys()
        check_fates(messages, taken(sink))
        counted: dict[str, int] = {}
        for row in second.api().get("/v1/message-counts")["data"]:
            counted[row["status"]] = counted.get(row["status"], 0) + row["count"]
        assert counted["queued"] == counted["sending"] == len(messages)
        assert counted["sent"] + counted.get("unknown", 0) == len(messages)
        assert second.stop() == 0
        checked = second.run("check")
        assert checked.returncode == 0, checked.stdout


def came_to(server: Server, id_: str, status: str) -> dict[str, Any]:
    """Return the message once it has this status."""

    def check() -> dict[str, Any] | None:
        message: dict[str, Any] = server.api().get(f"/v1/messages/{id_}")
        return message if message["status"] == status else None

    found: dict[str, Any] = eventually(check, what=f"{id_} {status}")
    return found


def test_signed_callbacks_of_twilio(server: Server, sink: thread_runner.Running) -> None:
    api, outside = server.api(), Client(sink.port)
    config = {"account_sid": "AC" + "0" * 32, "auth_token": "made-up", "from": "+18335550100"}
    wish = {"name": "Twilio", "connector": "twilio", "config": config | {"host": f"{sink.url}/twilio"}}
    made = api.post("/v1/connections", wish, status=201)
    outside.send("PUT", "/twilio/settings", {"inbound_url": made["callback_url"]})

    def send(to: str) -> str:
        found: str = api.post("/v1/messages", {"channel": "sms", "to": to, "text": "Hi"}, status=202)["id"]
        return found

    assert came_to(server, send(number(1)), "delivered")["tries"] == 1
    # To a phone that is off.
    failed = came_to(server, send("+12025550002"), "failed")
    assert (failed["code"], failed["reason"], failed["provider_code"]) == (2009, "unreachable", "30003")
    # A client other than Twilio reports a delivery.
    forged = Client(server.port).send(
        "POST",
        f"/receipts/{made['id']}",
        b"MessageSid=SM1&MessageStatus=delivered",
        {"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": "bm8="},
    )
    assert forged is not None
    assert forged[0] == 401
    outside.post("/twilio/inbound", {"from": number(1), "to": "+18335550100", "body": "STOP"}, status=200)
    address = number(1).replace("+", "%2B")

    def opted_out() -> bool:
        found = api.send("GET", f"/v1/consents?channel=sms&address={address}")
        return found is not None and found[0] == 200 and found[1]["state"] == "opted_out"

    eventually(opted_out, what="opted out")
    assert came_to(server, send(number(1)), "skipped")["reason"] == "not_consented"


def test_signed_events_of_sendgrid(server: Server, sink: thread_runner.Running) -> None:
    api, outside = server.api(), Client(sink.port)
    key = outside.get("/sendgrid/settings")["public_key"]
    config = {"api_key": "SG.made-up.key", "from_email": "shop@example.com", "webhook_public_key": key}
    wish = {"name": "SendGrid", "connector": "sendgrid", "config": config | {"host": f"{sink.url}/sendgrid"}}
    made = api.post("/v1/connections", wish, status=201)
    outside.send("PUT", "/sendgrid/settings", {"event_url": made["callback_url"]})
    mail = {"channel": "email", "subject": "Hi", "html": "<p>Hi</p>"}
    ids = {
        name: api.post("/v1/messages", mail | {"to": f"{name}@example.com"}, status=202)["id"]
        for name in ("open", "bounce", "blocked")
    }
    came_to(server, ids["open"], "delivered")
    bounced, blocked = (came_to(server, ids[name], "failed") for name in ("bounce", "blocked"))
    assert (bounced["reason"], blocked["reason"]) == ("bounced", "blocked")
    # A block is not a bounce: the address itself is valid.
    suppressed = api.get("/v1/suppressions")["data"]
    assert [(row["address"], row["reason"]) for row in suppressed] == [("bounce@example.com", "bounced")]
    opened = eventually(lambda: api.get("/v1/events?type=email.opened")["data"], what="opened")
    assert opened[0]["data"]["message"]["id"] == ids["open"]
