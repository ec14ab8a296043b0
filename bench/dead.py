"""What an endpoint that answers notices of others that hang: `waypost serve` with its defaults and every core."""

import asyncio
import resource
from functools import partial

from bench import load
from bench.measurements import Plan, Row, Section, Verdict
from bench.messaging import demand
from bench.outside import every_core
from bench.targets import Target, ours

#: How many endpoints hang. A workspace may have a thousand endpoints in all.
COUNTS = (0, 1, 25, 200, 999)
#: Deliveries that wait for them, together and for each at least. Their events are of a type that nobody else wants.
BACKLOG, BACKLOG_OF_EACH = 20_000, 50
BATCH = 500
#: Their requests have begun to hang, and the claims go on, before the measurement begins.
SETTLE_S = 3.0


async def dead(plan: Plan) -> Section:
    """The time from accept to delivered at one endpoint, alone and beside endpoints that hang with a backlog."""
    raise_descriptors()
    section = Section(title=f"dead: {plan.rate:.0f} events/s to one endpoint, beside endpoints that hang, every core")
    counts = COUNTS if plan.rounds > 1 else COUNTS[:3]
    for _ in range(plan.rounds):
        for count in counts:
            section.rows.append(await beside(plan, count))
    tails = {
        count: min(float(row["p99 ms"]) for row in section.rows if row["dead"] == f"{count:,}") for count in counts
    }
    section.verdicts = [
        Verdict(claim=f"p99 ms beside {count:,} dead endpoints", value=tails[count], limit=2 * tails[0])
        for count in counts[1:]
    ]
    return section


async def beside(plan: Plan, count: int) -> Row:
    """One run at a fixed rate beside this many endpoints that hang."""
    backlog = max(BACKLOG // count, BACKLOG_OF_EACH) if count else 0
    with every_core():
        async with (
            load.receivers(2, hanging=[1]) as receivers,
            ours(receivers.ports[:1], core=None, concurrency=None) as target,
        ):
            await asyncio.to_thread(make_dead, target, f"http://127.0.0.1:{receivers.ports[1]}", count, backlog)
            await asyncio.sleep(SETTLE_S if count else 0)
            post = partial(load.run, receivers, port=target.program.port, write_key=target.write_key)
            await post(total=int(plan.rate), connections=16, rate=plan.rate)
            marks = await post(total=int(plan.rate * plan.seconds), connections=16, rate=plan.rate)
    landed = load.spent(marks.answered, marks.delivered[:1])
    return {
        "dead": f"{count:,}",
        "backlog of each": backlog,
        "accept→delivered p50 ms": load.quantile(landed, 0.5) * 1000,
        "p99 ms": load.quantile(landed, 0.99) * 1000,
        "max ms": landed[-1] * 1000,
        "post p99 ms": load.quantile(load.spent(marks.posted, [marks.answered]), 0.99) * 1000,
    }


def make_dead(target: Target, url: str, count: int, backlog: int) -> None:
    """Make endpoints that lead to a receiver that hangs, and events that wait for them."""
    port, key = target.program.port, target.api_key
    for number in range(count):
        demand(port, "POST", "/v1/webhooks", {"url": f"{url}/{number}", "event_types": ["page.viewed"]}, key)
    for start in range(0, backlog, BATCH):
        pages = [{"type": "page", "userId": f"user-{n % 100}"} for n in range(start, min(start + BATCH, backlog))]
        demand(port, "POST", "/v1/batch", {"batch": pages}, key)


def raise_descriptors() -> None:
    """Allow this process a connection of every endpoint."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
