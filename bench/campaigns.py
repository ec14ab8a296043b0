"""Campaigns end to end: an email to everybody in a list, and a text, beside the same messages asked for in batches."""

import asyncio
import time
from typing import Any

from bench.measurements import MEGABYTE, Plan, Row, Section, Verdict
from bench.messaging import batches, connect_pinpoint, demand, number, reach, sink, submit
from bench.outside import connected, every_core
from bench.process import cpu_seconds, peak_bytes
from bench.targets import Target, ours

PATIENCE = 900.0
#: A newsletter of 2 KB with five links, rendered for each person.
HTML = (
    "<html><body><h1>Hello {{ person.first_name|default:'you' }}</h1>"
    + "<p>It is the time of the year at which we look at what is new, and at what you may like of it.</p>" * 14
    + "".join(f'<p><a href="https://shop.example.com/offers/{n}?from=news">Offer {n}</a></p>' for n in range(4))
    + '<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p></body></html>'
)
EMAIL = {"name": "News", "channel": "email", "subject": "News for {{ person.first_name }}", "html": HTML}
TEXT = {
    "name": "Text",
    "channel": "sms",
    "text": "{{ person.first_name }}, the sale ends tonight. Reply STOP to opt out",
}


def import_people(target: Target, total: int) -> tuple[str, float]:
    """Import people into a list; return it, and the rows per second."""
    port, key = target.program.port, target.api_key
    made = demand(port, "POST", "/v1/lists", {"name": "bench"}, key)
    began = time.monotonic()
    for first in range(0, total, 100_000):
        rows = [f"person{n}@example.com,{number(n)},Ann {n},pro\n" for n in range(first, min(first + 100_000, total))]
        path = f"/v1/imports?list={made['id']}"
        started = demand(port, "POST", path, ("email,phone,first_name,plan\n" + "".join(rows)).encode(), key)
        while (state := demand(port, "GET", f"/v1/imports/{started['id']}", bearer=key))["state"] == "running":
            time.sleep(0.05)
        if state["rejected"]:
            raise RuntimeError(f"rows were rejected: {state}")
    return made["id"], total / (time.monotonic() - began)


def launch(target: Target, list_id: str, channel: str, template: dict[str, Any]) -> str:
    """Create and launch a campaign; return its id."""
    port, key = target.program.port, target.api_key
    body = {
        "name": "bench",
        "channel": channel,
        "template_id": demand(port, "POST", "/v1/templates", template, key)["id"],
        "audience": {"lists": [list_id]},
    }
    made = demand(port, "POST", "/v1/campaigns", body, key)
    demand(port, "POST", f"/v1/campaigns/{made['id']}/launch", bearer=key)
    return str(made["id"])


async def finished(target: Target, id_: str) -> float:
    """When a campaign was finished."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        state = await asyncio.to_thread(
            demand, target.program.port, "GET", f"/v1/campaigns/{id_}", bearer=target.api_key
        )
        if state["state"] == "finished":
            return time.monotonic()
        await asyncio.sleep(0.1)
    raise RuntimeError(f"the campaign did not finish within {PATIENCE:g} s: {state['progress']}")


async def run(target: Target, total: int, channel: str, template: dict[str, Any]) -> Row:
    """Import people, send them a campaign, and return the rates and the costs."""
    list_id, imported = await asyncio.to_thread(import_people, target, total)
    before, began = cpu_seconds(target.pid), time.monotonic()
    id_ = await asyncio.to_thread(launch, target, list_id, channel, template)
    ended = await finished(target, id_)
    spent, memory = cpu_seconds(target.pid) - before, peak_bytes(target.pid)
    asked = time.monotonic()
    overview = await asyncio.to_thread(
        demand, target.program.port, "GET", f"/v1/campaigns/{id_}/overview", bearer=target.api_key
    )
    answered = time.monotonic()
    if overview["sent"] != total:
        raise RuntimeError(f"{overview['sent']} of {total} were sent: {overview}")
    return {
        "program": f"campaign by {channel}",
        "imported/s": imported,
        "sent/s": total / (ended - began),
        "CPU µs/person": spent / total * 1e6,
        "overview ms": (answered - asked) * 1000,
        "memory MB": memory / MEGABYTE,
    }


async def batched(target: Target, total: int, channel: str, content: dict[str, Any], address: Any) -> Row:
    """The same messages to the same people, asked for in batches with the template."""
    port, key = target.program.port, target.api_key
    template = await asyncio.to_thread(demand, port, "POST", "/v1/templates", content, key)
    message = {"template_id": template["id"], "channel": channel, "purpose": "promotional"}
    # A receipt may be there before the result of the call: such a text is never counted as sent.
    last = "sent" if channel == "email" else "delivered"
    counts = await asyncio.to_thread(demand, port, "GET", "/v1/message-counts", bearer=key)
    already = sum(line["count"] for line in counts["data"] if line["status"] == last)
    before, began = cpu_seconds(target.pid), time.monotonic()
    await asyncio.to_thread(submit, port, key, batches(total, message, address))
    ended = await reach(target, last, already + total)
    return {
        "program": f"batches by {channel}",
        "sent/s": total / (ended - began),
        "CPU µs/person": (cpu_seconds(target.pid) - before) / total * 1e6,
    }


async def email_campaign(plan: Plan) -> Section:
    """An email campaign over SMTP to a bare server, with tracked links and rendering per person."""
    total = plan.messages
    section = Section(title=f"email campaign: {total} people, five links, every core, SQLite")
    async with connected("smtp", "campaign") as (target, _, _):
        row = await run(target, total, "email", EMAIL)
        beside = await batched(target, total, "email", EMAIL, lambda n: f"person{n}@example.com")
    section.rows = [row, beside]
    cost = float(row["CPU µs/person"]) / float(beside["CPU µs/person"])
    section.verdicts = [
        Verdict(claim="rows imported/s", value=float(row["imported/s"]), limit=20_000.0, at_least=True),
        Verdict(claim="mails/s", value=float(row["sent/s"]), limit=2500.0, at_least=True),
        Verdict(claim="cost relative to batches", value=cost, limit=1.3),
        Verdict(claim="overview ms", value=float(row["overview ms"]), limit=50.0),
        Verdict(claim="memory MB", value=float(row["memory MB"]), limit=350.0),
    ]
    return section


async def text_campaign(plan: Plan) -> Section:
    """A campaign by text through the Pinpoint connector to the sink, receipts included."""
    total = plan.messages
    section = Section(title=f"campaign by text: {total} people through the Pinpoint connector, every core, SQLite")
    with every_core():
        async with sink(None) as (provider, _), ours([], core=None, name="campaign") as target:
            await asyncio.to_thread(connect_pinpoint, target, provider.port)
            row = await run(target, total, "sms", TEXT)
            beside = await batched(target, total, "sms", TEXT, number)
    section.rows = [row, beside]
    cost = float(row["CPU µs/person"]) / float(beside["CPU µs/person"])
    section.verdicts = [
        Verdict(claim="texts/s", value=float(row["sent/s"]), limit=5000.0, at_least=True),
        Verdict(claim="cost relative to batches", value=cost, limit=1.3),
    ]
    return section


CAMPAIGNS = {"email-campaign": email_campaign, "text-campaign": text_campaign}
