"""Texts through real processes: posted as Klaviyo does, sent through Pinpoint, reported, killed in between."""

import functools
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.acceptance.programs import Callers, Client, Server, all_received, eventually
from tests.acceptance.test_messages import SETTLED, all_messages, check_fates, connect, number, taken
from waypost.sink import thread_runner

SEND = "/text/message/send"
PATHS = {
    "delivered": ["PENDING_TO_SEND", "SENDING", "DELIVERED"],
    # A text that was being sent at a kill may have been sent.
    "unknown": ["PENDING_TO_SEND", "SENDING"],
}


def make_client(server: Server, callback: str) -> dict[str, str]:
    """Create a text client on the command line; return the headers that it sends."""
    options = ["--name", "klaviyo", "--callback-url", callback, "--rate-limit", "5000", "--check-links", "never"]
    done = server.run("text-clients", "add", *options, "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    return {"x-client-id": made["client_id"], "x-client-secret": made["client_secret"]}


def text_for(to: str) -> dict[str, Any]:
    """Return a request as a flow sends it."""
    data = json.dumps({"profileID": f"profile {to}", "metricName": "Birthday"})
    return {"phone": to, "email": "", "text": f"Happy birthday, {to}!", "callbackData": data, "sendPurpose": "Birthday"}


class Flow(Callers):
    """Callers that each post one text after another, repeating each until it is answered as Klaviyo does."""

    def __init__(self, server: Server, headers: dict[str, str], callers: int = 4) -> None:
        super().__init__(self._post, range(callers))
        self.server = server
        self.headers = headers
        #: The message of each number, and the numbers whose first answer was 200.
        self.accepted: dict[str, str] = {}
        self.first: set[str] = set()

    def _post(self, caller: int) -> None:
        api, client, count = self.server.api(), Client(self.server.port), 0
        while not self.stopping.is_set():
            to = number(caller * 100_000 + count)
            eventually(functools.partial(self._subscribe, api, to), what="subscribed")
            if not self.stopping.is_set():
                eventually(functools.partial(self._accept, client, to), what="accepted")
            count += 1

    def _subscribe(self, api: Client, to: str) -> bool:
        consent = {"channel": "sms", "address": to, "state": "opted_in"}
        answer = api.send("PUT", "/v1/consents", consent)
        return self.stopping.is_set() or (answer is not None and answer[0] == 200)

    def _accept(self, client: Client, to: str) -> bool:
        answer = client.send("POST", SEND, text_for(to), self.headers)
        if answer is not None and answer[0] == 200:
            assert answer[1]["status"] == "PENDING_TO_SEND", answer
            self.accepted[to] = answer[1]["messageId"]
            self.first.add(to)
            return True
        if answer is not None and answer[0] == 409:
            # The answer to the first request was lost with the process.
            self.accepted[to] = answer[1]["messageId"]
            return True
        return self.stopping.is_set()


def test_a_client_is_managed_on_the_command_line(server: Server) -> None:
    """Made, shown and changed; what is not given stays, and the running server uses it."""

    def run(*words: str) -> Any:
        done = server.run("text-clients", *words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    made = run(
        *["add", "--name", "klaviyo", "--callback-url", "https://shop.example.com/hook", "--rate-limit", "5"],
        *["--max-matches", "3", "--utm", "utm_source=sms", "--utm", "utm_medium=text"],
    )
    assert made.pop("client_secret")
    assert run("get", made["id"]) == made
    assert made["utm"] == {"utm_source": "sms", "utm_medium": "text"}
    assert (made["rate_limit"], made["max_matches"], made["check_links"]) == (5, 3, "now")
    changed = run("change", made["id"], "--name", "flows", "--no-callback", "--check-links", "never", "--no-utm")
    different = {name for name in made if changed[name] != made[name]}
    assert different == {"name", "callback", "endpoint_id", "check_links", "utm", "updated_at"}
    assert (changed["name"], changed["callback"], changed["endpoint_id"], changed["utm"]) == ("flows", None, None, None)
    shown = server.api().get(f"/v1/text-clients/{made['id']}")
    assert {name: shown[name] for name in changed} == changed
    assert "flows" in server.run("text-clients", "get", made["id"]).stdout
    for words, code in (
        (["change", made["id"], "--rate-limit", "0"], "--rate-limit"),
        (["change", made["id"], "--max-matches", "21"], "--max-matches"),
        (["change", made["id"], "--utm", "utm_source"], "NAME=VALUE"),
        (["change", made["id"], "--utm", "a=b", "--no-utm"], "only one option"),
        (["get", "tcl_00000000000000ff"], "no such text client"),
    ):
        done = server.run("text-clients", *words)
        assert done.returncode != 0
        assert code in " ".join(done.stderr.split()), done.stderr
    assert server.api().get(f"/v1/text-clients/{made['id']}") == shown


def test_each_status_reaches_klaviyo_once_and_in_order_over_a_kill(tmp_path: Path, sink: thread_runner.Running) -> None:
    """All that can become of a text, to a Klaviyo that was away, from a server that is killed meanwhile."""
    server = Server(tmp_path, {"WAYPOST_RETRY_BASE": "0.4"})
    server.init()
    server.start()
    connect(server, sink)
    api, world = server.api(), Client(sink.port)
    klaviyo = {"name": "Klaviyo", "connector": "klaviyo", "config": {"api_key": "pk_x", "host": f"{sink.url}/klaviyo"}}
    connection = api.post("/v1/connections", klaviyo, status=201)["id"]
    made = server.run(
        *["text-clients", "add", "--name", "flow", "--klaviyo-connection", connection, "--check-links", "later"],
        *["--rate-limit", "5000", "--json"],
    )
    assert made.returncode == 0, made.stderr
    client = json.loads(made.stdout)
    headers = {"x-client-id": client["client_id"], "x-client-secret": client["client_secret"]}
    answered, sent = "PENDING_TO_SEND", ["PENDING_TO_SEND", "SENDING"]
    # By number: whether it is subscribed, the link, the answer, and the statuses.
    paths: dict[str, tuple[str | None, str | None, str, list[str]]] = {
        "+12025550100": ("subscribed", None, answered, [*sent, "DELIVERED"]),
        # It has a fixed fate: the phone is off.
        "+12025550002": ("subscribed", None, answered, [*sent, "FAILED_TO_DELIVERY"]),
        # The provider refuses it.
        "+12025550011": ("subscribed", None, answered, ["PENDING_TO_SEND", "FAILED_TO_SEND"]),
        "+12025550121": ("subscribed", f"{sink.url}/no-such-page", answered, ["PENDING_TO_SEND", "FAILED_TO_SEND"]),
        "+12025550122": ("unsubscribed", None, "NOT_SUBSCRIBED", ["NOT_SUBSCRIBED"]),
        "+12025550123": (None, None, "NOT_FOUND", ["NOT_FOUND"]),
    }
    world.send("PUT", "/fate/klaviyo", {"error_rate": 1.0, "error_status": 503})
    expected = {"nobody": ["FAILED_TO_MATCH"]}
    for number_, (to, (state, link, status, statuses)) in enumerate(paths.items()):
        if state is not None:
            subscription = {"channel": "sms", "address": to, "state": state, "source": "test"}
            assert (api.send("PUT", "/v1/subscriptions", subscription) or (0,))[0] == 200
        # The number would have its fate at Klaviyo, too.
        profile = f"person {number_}"
        own = {"callbackData": json.dumps({"profileID": profile})} | ({} if link is None else {"clickUrl": link})
        assert take(server, text_for(to) | own, headers)["status"] == status, to
        expected[profile] = statuses
    nobody = text_for("") | {"email": "nobody@example.com", "callbackData": json.dumps({"profileID": "nobody"})}
    assert take(server, nobody, headers)["status"] == "FAILED_TO_MATCH"
    eventually(lambda: api.get("/v1/ledger")["pending"] >= len(expected), what="statuses that wait")
    server.kill()
    server.start()
    assert world.pages("/klaviyo/events") == []
    world.send("DELETE", "/fate/klaviyo")

    def found() -> bool:
        stored: dict[str, list[str]] = defaultdict(list)
        for event in world.pages("/klaviyo/events"):
            stored[event["profile"]].append(event["properties"]["Status"])
        return stored == expected

    eventually(found, what="every status, once and in order")
    server.settled()
    assert found()
    assert server.stop() == 0
    assert server.run("check").returncode == 0


def take(server: Server, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    """Return the answer to a text that must be taken."""
    answer = Client(server.port).send("POST", SEND, body, headers)
    assert answer is not None
    assert answer[0] == 200, answer
    found: dict[str, Any] = answer[1]
    return found


def reports(sink: thread_runner.Running, name: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the reports that a receiver got: by message and webhook-id; a repeat has the same id and says the same."""
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for request in all_received(sink.url, name):
        data = json.loads(request["body"])["data"]
        webhook_id = request["headers"]["webhook-id"]
        before = found[data["MessageID"]].setdefault(webhook_id, data)
        assert before == data
    return found


def statuses(datas: list[dict[str, Any]]) -> list[str]:
    """Return the statuses that reports tell, in their order."""
    return [data["Status"] for data in datas]


def test_a_receiver_that_was_away_over_a_kill_gets_every_status_once_and_in_order(
    tmp_path: Path, sink: thread_runner.Running
) -> None:
    server = Server(tmp_path, {"WAYPOST_RETRY_BASE": "0.4"})
    server.init()
    server.start()
    connect(server, sink)
    world = Client(sink.port)
    world.send("PUT", "/behaviour/away", {"status": 500})
    headers = make_client(server, f"{sink.url}/hook/away")
    with Flow(server, headers) as flow:
        flow.wait_for(60)

    def pending(more: int) -> bool:
        return bool(server.api().get("/v1/ledger")["pending"] >= more)

    eventually(lambda: pending(3 * len(flow.accepted)), what="all statuses recorded, none delivered")
    server.kill()
    world.send("POST", "/forget?name=away")
    world.send("PUT", "/behaviour/away", {})
    server.start()
    ledger = server.settled()
    assert (ledger["delivered"], ledger["dead"]) == (3 * len(flow.accepted), 0)
    requests = all_received(sink.url, "away")
    assert len(requests) == 3 * len(flow.accepted)
    arrived: dict[str, list[str]] = defaultdict(list)
    for request in requests:
        data = json.loads(request["body"])["data"]
        arrived[data["MessageID"]].append(data["Status"])
    assert arrived == {id_: PATHS["delivered"] for id_ in flow.accepted.values()}
    assert server.stop() == 0
    assert server.run("check").returncode == 0


def test_killed_in_a_storm_of_texts_every_answered_one_is_sent_and_reported_once(
    tmp_path: Path, sink: thread_runner.Running
) -> None:
    dice = random.Random(20270214)
    server = Server(tmp_path, {"WAYPOST_RETRY_BASE": "0.8"})
    server.init()
    server.start()
    connect(server, sink)
    headers = make_client(server, f"{sink.url}/hook/texts?fail_rate=0.1&seed=7")
    Client(sink.port).send("PUT", "/fate/pinpoint", {"latency": 0.05})
    with Flow(server, headers) as flow:
        for _ in range(5):
            flow.wait_for(dice.randrange(20, 120))
            server.kill()
            server.start()
        flow.wait_for(50)

    def told() -> tuple[dict[str, dict[str, Any]], dict[str, list[dict[str, Any]]]] | None:
        """Return the messages and their reports when each is settled and its statuses have arrived in order."""
        messages = all_messages(server)
        if not all(message["status"] in SETTLED for message in messages.values()):
            return None
        # In the order in which they came first.
        found = {id_: list(by_id.values()) for id_, by_id in reports(sink, "texts").items()}
        paths = {id_: PATHS[message["status"]] for id_, message in messages.items()}
        return (messages, found) if paths == {id_: statuses(datas) for id_, datas in found.items()} else None

    messages, found = eventually(told, what="every message settled, and every status reported in order")
    # Every text that was answered is one message, and nobody got two.
    check_fates(messages, taken(sink))
    assert {message["to"]: id_ for id_, message in messages.items() if message["to"] in flow.accepted} == flow.accepted
    assert len(flow.first) > 100
    for id_, message in messages.items():
        assert message["text_status"] == found[id_][-1]["Status"]
        assert {data["callbackData"]["profileID"] for data in found[id_]} == {f"profile {message['to']}"}
    server.settled()
    # Nothing was reported twice; the receipt of an unknown text may have come since.
    later = {id_: statuses(list(by_id.values())) for id_, by_id in reports(sink, "texts").items()}
    assert later == {
        id_: PATHS["delivered"] if later[id_] == PATHS["delivered"] else statuses(datas) for id_, datas in found.items()
    }
    # A repeat of an answered text is known after the restarts.
    caller = Client(server.port)
    for to in dice.sample(sorted(flow.accepted), 20):
        answer = caller.send("POST", SEND, text_for(to), headers)
        assert answer is not None
        assert (answer[0], answer[1]["code"]) == (409, "duplicate_message")
        assert answer[1]["messageId"] == flow.accepted[to]
    assert len(all_messages(server)) == len(messages)
    assert server.stop() == 0
    checked = server.run("check")
    assert checked.returncode == 0, checked.stdout
