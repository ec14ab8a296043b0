"""The overview of a campaign, from its counts."""

from typing import Any

import msgspec

from waypost.clock import SECOND, iso
from waypost.domain.messaging.failure_codes import describe
from waypost.storage.database import Tx

#: The links that an overview shows, those with the most clicks first.
MOST_LINKS = 200


class FailureCount(msgspec.Struct):
    """How many messages failed for a reason."""

    code: int
    name: str
    meaning: str
    count: int


class ReasonCount(msgspec.Struct):
    """How many recipients were skipped, or are held, for a reason."""

    reason: str
    count: int


class EngagementCount(msgspec.Struct):
    """How often people did something, and how many people; what machines did is counted apart."""

    total: int
    unique: int
    machine: int


class LinkCount(msgspec.Struct):
    """The clicks on one link."""

    url: str
    total: int
    unique: int
    machine: int


class ClickCount(EngagementCount):
    """The clicks, by link."""

    links: list[LinkCount]


class VariantCount(msgspec.Struct):
    """What became of one variant."""

    variant: str
    sent: int
    delivered: int
    failed: int
    opens: int
    clicks: int
    conversions: int


class ConversionCount(msgspec.Struct):
    """Who reached the goal, beside those who got nothing."""

    total: int
    #: Of those who got the message.
    rate: float
    holdout: int
    holdout_total: int
    holdout_rate: float | None
    #: How much higher the rate is with the message, relative to without; null without a holdout that converted.
    lift: float | None


class HourCount(msgspec.Struct):
    """What happened in an hour."""

    hour: str
    counts: dict[str, int]


class Overview(msgspec.Struct, kw_only=True):
    """What became of the recipients of a campaign, or of one occurrence."""

    audience: int
    waiting: int
    queued: int
    held: list[ReasonCount]
    #: Whom a provider accepted it for, those that it reported as delivered included.
    sent: int
    delivered: int
    unknown: int
    holdout: int
    failed: list[FailureCount]
    skipped: list[ReasonCount]
    opens: EngagementCount
    clicks: ClickCount
    unsubscribes: int
    complaints: int
    bounces: int
    conversions: ConversionCount
    variants: list[VariantCount]
    series: list[HourCount]


async def load_overview(tx: Tx, occurrences: list[int]) -> Overview:
    """Return the overview of occurrences together, from the counts alone."""
    rows = await tx.rows("campaign_counts.sums", ids=occurrences) if occurrences else []
    hours = await tx.rows("campaign_counts.hours", ids=occurrences) if occurrences else []
    return make_overview(rows, hours)


def make_overview(rows: list[tuple[Any, ...]], hours: list[tuple[Any, ...]]) -> Overview:
    """Return the overview of counts: kind, key, code, variant and number; and of hours, kinds and numbers."""
    statuses: dict[str, int] = {}
    reasons: dict[str, dict[str, int]] = {"held": {}, "skipped": {}}
    failed: dict[int, int] = {}
    kinds: dict[str, int] = {}
    links: dict[str, dict[str, int]] = {}
    variants: dict[str, dict[str, int]] = {}
    holdout_converted = 0
    for kind, key, code, variant, n in rows:
        if kind == "status":
            status, _, reason = key.partition(":")
            statuses[status] = statuses.get(status, 0) + n
            if status in reasons:
                reasons[status][reason] = reasons[status].get(reason, 0) + n
            elif status == "failed":
                failed[code] = failed.get(code, 0) + n
        elif kind.startswith("link"):
            counts = links.setdefault(key, {})
            counts[kind] = counts.get(kind, 0) + n
        elif kind == "converted" and key == "holdout":
            holdout_converted += n
        else:
            kinds[kind] = kinds.get(kind, 0) + n
        if variant and kind != "status" and not kind.startswith("link"):
            of_variant = variants.setdefault(variant, {})
            of_variant[kind] = of_variant.get(kind, 0) + n
    sent, holdout = kinds.get("sent", 0), statuses.get("holdout", 0)
    return Overview(
        audience=sum(statuses.values()),
        waiting=statuses.get("waiting", 0),
        queued=statuses.get("queued", 0),
        held=_reasons(reasons["held"]),
        sent=sent,
        delivered=statuses.get("delivered", 0),
        unknown=statuses.get("unknown", 0),
        holdout=holdout,
        failed=[_failure(code, n) for code, n in sorted(failed.items()) if n > 0],
        skipped=_reasons(reasons["skipped"]),
        opens=EngagementCount(kinds.get("opened", 0), kinds.get("opened_unique", 0), kinds.get("opened_machine", 0)),
        clicks=ClickCount(
            kinds.get("clicked", 0),
            kinds.get("clicked_unique", 0),
            kinds.get("clicked_machine", 0),
            sorted(
                (
                    LinkCount(url, n.get("link", 0), n.get("link_unique", 0), n.get("link_machine", 0))
                    for url, n in links.items()
                ),
                key=lambda link: (-link.total, -link.machine, link.url),
            )[:MOST_LINKS],
        ),
        unsubscribes=kinds.get("unsubscribed", 0),
        complaints=kinds.get("complained", 0),
        bounces=kinds.get("bounced", 0),
        conversions=_conversions(kinds.get("converted", 0), sent, holdout_converted, holdout),
        variants=[
            VariantCount(
                name,
                n.get("sent", 0),
                n.get("delivered", 0),
                n.get("failed", 0),
                n.get("opened_unique", 0),
                n.get("clicked_unique", 0),
                n.get("converted", 0),
            )
            for name, n in sorted(variants.items())
        ],
        series=_series(hours),
    )


def _conversions(converted: int, sent: int, held_out: int, holdout: int) -> ConversionCount:
    rate = converted / sent if sent else 0.0
    without = held_out / holdout if holdout else None
    lift = (rate - without) / without if without else None
    return ConversionCount(converted, rate, held_out, holdout, without, lift)


def _reasons(counts: dict[str, int]) -> list[ReasonCount]:
    found = [ReasonCount(reason, n) for reason, n in counts.items() if n > 0]
    return sorted(found, key=lambda one: (-one.count, one.reason))


def _failure(code: int, n: int) -> FailureCount:
    known = describe(code)
    if known is None:
        return FailureCount(code, "Unknown code", "", n)
    return FailureCount(code, known.name, known.meaning, n)


def _series(hours: list[tuple[Any, ...]]) -> list[HourCount]:
    found: dict[int, dict[str, int]] = {}
    for hour, kind, n in hours:
        found.setdefault(hour, {})[kind] = n
    return [HourCount(iso(hour * SECOND), counts) for hour, counts in sorted(found.items())]
