"""`kill -9` at any time loses nothing that was accepted, and needs no repair."""

import json
import random
import resource
from pathlib import Path

import apsw
from standardwebhooks import Webhook

from tests.acceptance.programs import Load, Server, all_received, delivered_ids, eventually
from waypost.sink import thread_runner

ROUNDS = 6


def subscribe(server: Server, url: str, **wish: object) -> dict[str, object]:
    made: dict[str, object] = server.api().post(
        "/v1/webhooks", {"url": url, "event_types": ["event.*"], **wish}, status=201
    )
    return made


def test_killed_again_and_again_under_load(tmp_path: Path, sink: thread_runner.Running) -> None:
    dice = random.Random(20261121)
    server = Server(tmp_path, {"WAYPOST_RETRY_BASE": "0.01"})
    server.init()
    server.start()
    endpoint = subscribe(server, f"{sink.url}/hook/orders")
    subscribe(server, f"{sink.url}/hook/flaky?fail_rate=0.2&seed=3")
    with Load(server) as load:
        for _ in range(ROUNDS):
            load.wait_for(dice.randrange(50, 600))
            server.kill()
            server.start()
        load.wait_for(200)
    ledger = server.settled()
    assert ledger["dead"] == 0
    verifier = Webhook(str(endpoint["secret"]))
    for name in ("orders", "flaky"):
        received = all_received(sink.url, name)
        assert set(delivered_ids(received)) >= load.accepted, f"{name} missed some"
        if name == "orders":
            for request in received:
                verifier.verify(request["body"], request["headers"])
    # An event that was recorded without a response was sent again with the same id: it counts once.
    assert ledger["accepted"] == 2 * len(set(delivered_ids(all_received(sink.url, "orders"))))
    assert server.stop() == 0
    checked = server.run("check", "--json")
    assert checked.returncode == 0, checked.stdout
    assert json.loads(checked.stdout)["ok"] is True


def test_a_ledger_that_was_tampered_with_is_found_out(server: Server, sink: thread_runner.Running) -> None:
    subscribe(server, f"{sink.url}/hook/orders")
    server.tracker().post("/v1/track", {"userId": "u", "event": "Order Shipped"})
    server.settled()
    server.stop()
    assert server.run("check").returncode == 0
    database = apsw.Connection(str(server.data / "waypost.db"))
    database.execute("UPDATE endpoint_counts SET accepted = accepted + 1")
    database.close()
    checked = server.run("check")
    assert checked.returncode == 1
    assert "accepted 2 is not delivered 1" in checked.stdout
    server.start()


def test_sigterm_drains(tmp_path: Path, sink: thread_runner.Running) -> None:
    server = Server(tmp_path)
    server.init()
    server.start()
    subscribe(server, f"{sink.url}/hook/slow?delay=0.5", concurrency=4)
    tracker = server.tracker()
    ids = [f"drain-{number}" for number in range(12)]
    for message_id in ids:
        tracker.post("/v1/track", {"userId": "u", "event": "Order Shipped", "messageId": message_id})
    eventually(lambda: len(all_received(sink.url, "slow")) >= 4, what="the first four under way")
    assert server.stop() == 0
    after_stop = len(all_received(sink.url, "slow"))
    server.start()
    ledger = server.settled()
    assert (ledger["accepted"], ledger["delivered"]) == (12, 12)
    received = delivered_ids(all_received(sink.url, "slow"))
    assert sorted(received) == sorted(ids), "what was under way was finished, and nothing was sent twice"
    assert after_stop < 12, "what had not been started was left to the next process"
    server.stop()


def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path, sink: thread_runner.Running) -> None:
    """Limit the file size of the process to a few megabytes, which is like a full disk to the storage."""
    room = 6 * 1024 * 1024
    server = Server(tmp_path, {"WAYPOST_RETRY_BASE": "0.01"})
    server.init()
    server.start(before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY)))
    subscribe(server, f"{sink.url}/hook/orders")
    tracker = server.tracker()
    accepted, refusal, number = [], None, 0
    while refusal is None:
        number += 1
        assert number < 20_000, "the disk never filled"
        events = [
            {
                "type": "track",
                "userId": "u",
                "event": "Order Shipped",
                "messageId": f"full-{number}-{part}",
                "properties": {"padding": "x" * 2000},
            }
            for part in range(20)
        ]
        answer = tracker.send("POST", "/v1/batch", {"batch": events})
        assert answer is not None
        if answer[0] == 200:
            accepted += [str(event["messageId"]) for event in events]
        else:
            refusal = answer
    assert refusal[0] == 503
    assert refusal[1]["code"] == "unavailable"
    assert "retry-after" in refusal[2]
    assert server.process is not None
    assert server.running
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    eventually(
        lambda: (
            (tracker.send("POST", "/v1/track", {"userId": "u", "event": "Order Shipped", "messageId": "after"}) or [0])[
                0
            ]
            == 200
        ),
        what="accepting again",
    )
    ledger = server.settled()
    assert ledger["delivered"] == len(accepted) + 1
    assert set(delivered_ids(all_received(sink.url, "orders"))) == {*accepted, "after"}
    assert server.stop() == 0
    assert server.run("check").returncode == 0


def test_two_servers_do_not_share_a_file(tmp_path: Path) -> None:
    first = Server(tmp_path)
    first.init()
    first.start()
    second = first.run("serve", "--port", "0")
    assert second.returncode == 1
    assert "data_in_use" in second.stderr
    first.stop()
    assert json.loads(first.run("ledger", "--json").stdout)["accepted"] == 0
