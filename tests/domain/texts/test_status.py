"""What the calling tool is told, for every way in which a message can go."""

import itertools

import pytest

from tests.domain.messaging.test_status import state
from waypost.domain.messaging.message import Status
from waypost.domain.texts.status import TextStatus, current_text_status, reported_statuses, text_status


def told(*path: Status, reason: str | None = None, provider_id: str | None = None) -> list[str]:
    """What is reported along a path of statuses."""
    found: list[str] = []
    for before, after in itertools.pairwise([None, *path]):
        assert after is not None
        last = after is path[-1]
        found += reported_statuses(
            before,
            state(status=after, reason=reason if last else None, provider_message_id=provider_id if last else None),
        )
    return found


Q, H, G, S, D, F, K, U = (
    Status.QUEUED,
    Status.HELD,
    Status.SENDING,
    Status.SENT,
    Status.DELIVERED,
    Status.FAILED,
    Status.SKIPPED,
    Status.UNKNOWN,
)
PATHS = [
    ((Q, G, S, D), {}, "PENDING_TO_SEND SENDING DELIVERED"),
    ((H, Q, G, S, D), {}, "PENDING_TO_SEND SENDING DELIVERED"),
    # Tried again: still pending.
    ((Q, G, Q, G, S, D), {}, "PENDING_TO_SEND SENDING DELIVERED"),
    # The receipt was faster than our own record of the answer.
    ((Q, G, D), {"provider_id": "x"}, "PENDING_TO_SEND SENDING DELIVERED"),
    ((Q, G, F), {"provider_id": "x"}, "PENDING_TO_SEND SENDING FAILED_TO_DELIVERY"),
    ((Q, G, F), {}, "PENDING_TO_SEND FAILED_TO_SEND"),
    ((Q, F), {"reason": "expired"}, "PENDING_TO_SEND FAILED_TO_SEND"),
    ((Q, G, S, F), {}, "PENDING_TO_SEND SENDING FAILED_TO_DELIVERY"),
    ((Q, G, S, F, D), {}, "PENDING_TO_SEND SENDING FAILED_TO_DELIVERY DELIVERED"),
    ((Q, G, U), {}, "PENDING_TO_SEND SENDING"),
    ((Q, G, U, D), {}, "PENDING_TO_SEND SENDING DELIVERED"),
    ((Q, K), {"reason": "not_consented"}, "PENDING_TO_SEND NOT_SUBSCRIBED"),
    ((Q, K), {"reason": "suppressed"}, "PENDING_TO_SEND NOT_SUBSCRIBED"),
    ((Q, K), {"reason": "cancelled"}, "PENDING_TO_SEND FAILED_TO_SEND"),
    ((H, F), {"reason": "link_failed"}, "PENDING_TO_SEND FAILED_TO_SEND"),
    ((K,), {"reason": "not_found"}, "NOT_FOUND"),
    ((K,), {"reason": "not_subscribed"}, "NOT_SUBSCRIBED"),
    ((K,), {"reason": "failed_to_match"}, "FAILED_TO_MATCH"),
]


@pytest.mark.parametrize(("path", "about", "expected"), PATHS)
def test_what_is_told(path, about, expected):
    assert told(*path, **about) == expected.split()


def test_every_status_has_a_name():
    for status in Status:
        assert text_status(status, None, handed_over=False) in TextStatus


@pytest.mark.parametrize(
    "path", [[Q, G, U, F], [Q, G, S, F], [Q, G, F], [Q, G, U], [Q, H, Q, G, Q], [Q, G, S, D], [Q, K]], ids=str
)
def test_a_message_shows_what_was_reported_last(path: list[Status]):
    assert current_text_status(path[-1], None, None, set(path)) == told(*path)[-1]
