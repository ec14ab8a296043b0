"""Texts posted singly to the text-message API over keep-alive connections, until they are recorded."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench import load
from bench.measurements import MEGABYTE, Plan, Row, Section, Verdict, open_bare, saturate, yardstick
from bench.messaging import demand, number
from bench.process import cpu_seconds, peak_bytes
from bench.targets import Target, ours

PEOPLE = 1000


class Texts:
    """Requests of a Klaviyo flow: the person and the text differ from one to the next."""

    def __init__(self, made: dict[str, str], run: str) -> None:
        self._run = run.encode()
        self._head = (
            "POST /text/message/send HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            f"User-Agent: Klaviyo/1.0\r\nX-Client-ID: {made['client_id']}\r\n"
            f"X-Client-Secret: {made['client_secret']}\r\nContent-Length: "
        ).encode()
        self._phones = [number(n).encode() for n in range(PEOPLE)]

    def write(self, first: int, count: int) -> bytes:
        """Return the request with this number."""
        body = (
            b'{"phone":"%b","email":"person%d@example.com","text":"BrandName: Happy Birthday, Ada! %b%d",'
            b'"callbackData":"{\\"profileID\\":\\"01GDDKASAP8TKDDA2GRZDSVP4H\\",\\"metricName\\":\\"Birthday\\",'
            b'\\"flow\\":\\"Birthday\\"}","sendPurpose":"Birthday"}'
        ) % (self._phones[first % PEOPLE], first % PEOPLE, self._run, first)
        return b"%b%d\r\n\r\n%b" % (self._head, len(body), body)


@asynccontextmanager
async def texting(plan: Plan) -> AsyncIterator[tuple[Target, dict[str, str]]]:
    """Waypost with a text client, people who are subscribed, and a connection that sends next to nothing."""
    async with ours([], core=plan.program_core, name="ours") as target:
        made = await asyncio.to_thread(_prepare, target.program.port, target.api_key)
        yield target, made


def _prepare(port: int, key: str | None) -> dict[str, str]:
    connection = {"name": "bench", "connector": "http", "config": {"url": "http://127.0.0.1:9/"}, "per_second": 0.01}
    demand(port, "POST", "/v1/connections", connection, key)
    for n in range(PEOPLE):
        demand(port, "PUT", "/v1/consents", {"channel": "sms", "address": number(n), "state": "opted_in"}, key)
    client = {"name": "bench", "rate_limit": 100_000, "check_links": "never"}
    made: dict[str, str] = demand(port, "POST", "/v1/text-clients", client, key)
    return made


async def texts_api(plan: Plan) -> Section:
    """The rate and CPU time of texts until they are recorded, beside the bare program; answers at a fixed rate."""
    section = Section(title=f"texts-api: {plan.events} texts singly, {plan.connections} connections, SQLite, one core")
    tails = []
    for _ in range(plan.rounds):
        bare = await saturate(plan, open_bare(plan))
        section.rows.append({"program": "bare", "per s": bare["events/s"], "CPU µs each": bare["CPU µs/event"]})
        full, paced = await _round(plan)
        section.rows += [full, paced]
        tails.append(float(paced["post p99 ms"]))
    rates = {
        name: max(float(row["per s"]) for row in section.rows if row["program"] == name) for name in ("bare", "ours")
    }
    section.verdicts = [
        Verdict(
            claim="rate of texts / rate of the bare program",
            value=rates["ours"] / rates["bare"],
            limit=0.4,
            at_least=True,
        ),
        Verdict(claim=f"post p99 ms at {plan.rate:.0f}/s, best round", value=min(tails), limit=10.0),
    ]
    return section


async def _round(plan: Plan) -> tuple[Row, Row]:
    speed = yardstick(plan.program_core)
    async with load.receivers(0) as nobody, texting(plan) as (target, made):
        port = target.program.port

        async def post(run: str, total: int, rate: float | None = None) -> load.Marks:
            connections = plan.connections if rate is None else 16
            requests = Texts(made, run)
            return await load.run(nobody, port=port, requests=requests, total=total, connections=connections, rate=rate)

        await post("warm up ", plan.warm_up)
        before = cpu_seconds(target.pid)
        marks = await post("full ", plan.events)
        spent = cpu_seconds(target.pid) - before
        answers = load.spent(marks.posted, [marks.answered])
        wall = max(marks.answered) - marks.started()
        full: Row = {
            "program": "ours",
            "per s": plan.events / wall,
            "CPU µs each": spent / plan.events * 1e6,
            "post p50 ms": load.quantile(answers, 0.5) * 1000,
            "post p99 ms": load.quantile(answers, 0.99) * 1000,
            "refused": marks.refused,
            "memory MB": peak_bytes(target.pid) / MEGABYTE,
            "yardstick ms": speed,
        }
        marks = await post("paced ", int(plan.rate * plan.seconds), plan.rate)
        answers = load.spent(marks.posted, [marks.answered])
        stored = json.dumps(await asyncio.to_thread(demand, port, "GET", "/v1/message-counts", None, target.api_key))
        if f'"count": {plan.warm_up + plan.events + int(plan.rate * plan.seconds)}' not in stored:
            raise RuntimeError(f"not every text was recorded: {stored}")
        paced: Row = {
            "program": f"ours at {plan.rate:.0f}/s",
            "per s": plan.rate,
            "post p50 ms": load.quantile(answers, 0.5) * 1000,
            "post p99 ms": load.quantile(answers, 0.99) * 1000,
            "refused": marks.refused,
        }
        return full, paced


TEXTS = {"texts-api": texts_api}
