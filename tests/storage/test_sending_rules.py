"""Sending rules on both databases: what a claim holds, skips and counts, and what is given back."""

import time
from datetime import datetime
from zoneinfo import ZoneInfo

from waypost.clock import now_us
from waypost.domain.messaging.sending_rules import SendingRules
from waypost.domain.values.timezones import first_instant
from waypost.engine.messaging.sending_rules import save_rules
from waypost.engine.process import Engine

REAL = time.time_ns


def at(wall: str, zone: str) -> int:
    """Return the instant of a local time."""
    return first_instant(ZoneInfo(zone), datetime.fromisoformat(wall))


async def set_rules(engine: Engine, rules: SendingRules, workspace_id: int = 1) -> None:
    """Set the rules of a workspace as the API does."""
    await engine.database.transact(save_rules, workspace_id, rules, 1, now_us())
    await engine.sending_rules.refresh([workspace_id])
