"""Texts of the text-message API: what it costs to report their statuses to the tool that posted them."""

import asyncio
import json
from http.client import HTTPConnection
from typing import Any

from bench import load
from bench.measurements import Plan, Row, Section, Verdict, yardstick
from bench.messaging import connect_pinpoint, demand, number, reach, sink
from bench.process import cpu_seconds
from bench.targets import Target, balanced, ours

#: The statuses of a text that is delivered.
STATUSES = 3
CALLERS = 8
KINDS = ("none", "webhook", "klaviyo")


async def text_callbacks(plan: Plan) -> Section:
    """Texts that are sent and delivered, without a callback and with one of each kind; the difference per status."""
    total = plan.messages // 20
    section = Section(title=f"text-callbacks: {total} texts with {STATUSES} statuses each, SQLite, one core")
    for _ in range(plan.rounds):
        section.rows += [await report(plan, total, kind) for kind in KINDS]
    least = {kind: min(float(row["CPU µs/text"]) for row in section.rows if row["callback"] == kind) for kind in KINDS}
    costs = {kind: (least[kind] - least["none"]) / STATUSES for kind in KINDS[1:]}
    section.rows += [{"callback": f"{kind}, best", "CPU µs/callback": cost} for kind, cost in costs.items()]
    section.verdicts = [Verdict(claim="CPU µs per callback to Klaviyo", value=costs["klaviyo"], limit=60.0)]
    return section


async def report(plan: Plan, total: int, kind: str) -> Row:
    """Send so many texts and wait until they are delivered and, with a callback, reported."""
    speed = yardstick(plan.program_core)
    async with (
        sink(None) as (provider, _),
        load.receivers() as receivers,
        ours([], core=plan.program_core) as target,
    ):
        await asyncio.to_thread(connect_pinpoint, target, provider.port)
        headers = await asyncio.to_thread(make_client, target, kind, receivers.ports[0])
        await asyncio.to_thread(opt_in, target, total)
        before = cpu_seconds(target.pid)
        parts = [range(first, total, CALLERS) for first in range(CALLERS)]
        await asyncio.gather(*(asyncio.to_thread(post, target, headers, part) for part in parts))
        await reach(target, "delivered", total)
        if kind != "none":
            await balanced(target, STATUSES * total, patience=120.0)
        spent = cpu_seconds(target.pid) - before
        return {
            "callback": kind,
            "CPU µs/text": spent / total * 1e6,
            "requests/callback": receivers.stray / total / STATUSES,
            "yardstick ms": speed,
        }


def make_client(target: Target, kind: str, receiver: int) -> dict[str, str]:
    """Create a text client with a callback of this kind; return the headers of its requests."""
    port, key = target.program.port, target.api_key
    callback: dict[str, Any] | None = None
    if kind == "webhook":
        callback = {"kind": kind, "url": f"http://127.0.0.1:{receiver}/hook"}
    elif kind == "klaviyo":
        config = {"api_key": "pk_made_up", "host": f"http://127.0.0.1:{receiver}"}
        made = demand(port, "POST", "/v1/connections", {"name": kind, "connector": kind, "config": config}, key)
        callback = {"kind": kind, "connection_id": made["id"]}
    wish = {"name": "bench", "callback": callback, "rate_limit": 100_000, "check_links": "never"}
    made = demand(port, "POST", "/v1/text-clients", wish, key)
    return {"X-Client-ID": made["client_id"], "X-Client-Secret": made["client_secret"]}


def opt_in(target: Target, total: int) -> None:
    """Let the numbers agree to get texts."""
    connection = HTTPConnection("127.0.0.1", target.program.port, timeout=60)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {target.api_key}"}
    for n in range(total):
        body = json.dumps({"channel": "sms", "address": number(n), "state": "opted_in"})
        exchange(connection, "PUT", "/v1/consents", body, headers)
    connection.close()


def post(target: Target, headers: dict[str, str], numbers: range) -> None:
    """Post a text to each of these numbers on one connection."""
    connection = HTTPConnection("127.0.0.1", target.program.port, timeout=60)
    for n in numbers:
        data = json.dumps({"profileID": f"01KPROFILE{n:016}", "metricName": "Birthday SMS", "flow": "Birthday SMS"})
        body = {"phone": number(n), "text": f"Happy birthday {n}!", "callbackData": data, "sendPurpose": "Birthday"}
        exchange(connection, "POST", "/text/message/send", json.dumps(body), headers)
    connection.close()


def exchange(connection: HTTPConnection, method: str, path: str, body: str, headers: dict[str, str]) -> None:
    """Send a request whose answer has to be a success."""
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise RuntimeError(f"{method} {path} answered {response.status}: {content[:500]!r}")
