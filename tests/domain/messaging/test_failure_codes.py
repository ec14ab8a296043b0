"""The meanings of the delivery statuses of providers, one by one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.messaging.failure_codes import (
    FAILURE_CODES,
    Meaning,
    describe,
    read_end_user_messaging_event,
    read_pinpoint_event,
    read_record_status,
)
from waypost.domain.messaging.message import Status

#: Status, code, reason, suppression.
Row = tuple[str | None, int | None, str | None, str | None]

SENT: Row = ("sent", None, None, None)
DELIVERED: Row = ("delivered", None, None, None)
UNDER_WAY: Row = (None, None, None, None)


def failed(code: int, reason: str, suppress: str | None = None) -> Row:
    return ("failed", code, reason, suppress)


RECORD_STATUS = {
    "SUCCESSFUL": SENT,
    "DELIVERED": DELIVERED,
    "PENDING": UNDER_WAY,
    "INVALID": failed(2003, "invalid_number", "invalid_number"),
    "UNREACHABLE": failed(2009, "unreachable"),
    "UNKNOWN": failed(9988, "unknown"),
    "BLOCKED": failed(2015, "blocked"),
    "CARRIER_UNREACHABLE": failed(2009, "carrier_unreachable"),
    "SPAM": failed(2015, "spam"),
    "INVALID_MESSAGE": failed(2015, "invalid_message"),
    "CARRIER_BLOCKED": failed(2015, "carrier_blocked"),
    "TTL_EXPIRED": failed(2008, "expired"),
    "MAX_PRICE_EXCEEDED": failed(2000, "spend_limit"),
    "OPTED_OUT": failed(9988, "opted_out", "opted_out"),
    "TELEPORTED": failed(9988, "unrecognised:TELEPORTED"),
}
EVENT_TYPES = {
    "TEXT_QUEUED": UNDER_WAY,
    "TEXT_PENDING": UNDER_WAY,
    "TEXT_SENT": SENT,
    "TEXT_SUCCESSFUL": SENT,
    "TEXT_DELIVERED": DELIVERED,
    "TEXT_INVALID": failed(2003, "invalid_number", "invalid_number"),
    "TEXT_INVALID_MESSAGE": failed(2015, "invalid_message"),
    "TEXT_UNREACHABLE": failed(2009, "unreachable"),
    "TEXT_CARRIER_UNREACHABLE": failed(2009, "carrier_unreachable"),
    "TEXT_BLOCKED": failed(2015, "blocked"),
    "TEXT_CARRIER_BLOCKED": failed(2015, "carrier_blocked"),
    "TEXT_SPAM": failed(2015, "spam"),
    "TEXT_UNKNOWN": failed(9988, "unknown"),
    "TEXT_TTL_EXPIRED": failed(2008, "expired"),
    "TEXT_PROTECT_BLOCKED": failed(9988, "protect_blocked"),
    "TEXT_TELEPORTED": failed(9988, "unrecognised:TEXT_TELEPORTED"),
    "MEDIA_DELIVERED": DELIVERED,
    "MEDIA_FILE_SIZE_EXCEEDED": failed(9988, "media_too_large"),
    "RCS_READ": DELIVERED,
}


def row(meaning: Meaning | None) -> Row:
    assert meaning is not None
    return meaning.status and meaning.status.value, meaning.code, meaning.reason, meaning.suppress


@pytest.mark.parametrize("value", RECORD_STATUS)
def test_record_statuses(value: str):
    assert row(read_record_status(value, "US", "Promotional")) == RECORD_STATUS[value]
    for event_type in ("_SMS.SUCCESS", "_SMS.FAILURE"):
        assert row(read_pinpoint_event(event_type, value, "US", "Promotional")) == RECORD_STATUS[value]


@pytest.mark.parametrize("value", EVENT_TYPES)
def test_event_types_of_end_user_messaging(value: str):
    assert row(read_end_user_messaging_event(value, "US", "PROMOTIONAL")) == EVENT_TYPES[value]


@pytest.mark.parametrize(
    ("country", "message_type", "code"),
    [
        ("IN", "Promotional", 2006),
        ("in", "PROMOTIONAL", 2006),
        ("IN", "Transactional", 2015),
        ("US", "Promotional", 2015),
        (None, "Promotional", 2015),
        ("IN", None, 2015),
    ],
)
def test_what_is_blocked_as_promotion_in_india_is_in_the_register(
    country: str | None, message_type: str | None, code: int
):
    reason = "ndnc" if code == 2006 else "blocked"
    assert row(read_record_status("BLOCKED", country, message_type)) == failed(code, reason)
    assert row(read_end_user_messaging_event("TEXT_BLOCKED", country, message_type)) == failed(code, reason)
    # Only the block itself means that.
    assert row(read_record_status("CARRIER_BLOCKED", country, message_type)) == failed(2015, "carrier_blocked")


def test_a_message_under_way_is_not_moved_whatever_its_record_says():
    assert row(read_pinpoint_event("_SMS.BUFFERED", "PENDING", "US", None)) == UNDER_WAY
    assert row(read_pinpoint_event("_SMS.BUFFERED", "DELIVERED", "US", None)) == UNDER_WAY


def test_an_opt_out_suppresses_and_moves_nothing():
    assert row(read_pinpoint_event("_SMS.OPTOUT", "OPTED_OUT", "US", None)) == (None, None, None, "opted_out")


def test_events_without_a_record_status():
    assert row(read_pinpoint_event("_SMS.SUCCESS", None, None, None)) == SENT
    assert row(read_pinpoint_event("_SMS.FAILURE", None, None, None)) == failed(9988, "unrecognised:")


@pytest.mark.parametrize("type_", ["_email.send", "_campaign.send", "_session.start", "cart.filled", "", "_SMS.NEW"])
def test_other_events_of_pinpoint_mean_nothing(type_: str):
    assert read_pinpoint_event(type_, None, None, None) is None


@pytest.mark.parametrize("type_", ["VOICE_COMPLETED", "VOICE_TTL_EXPIRED", "", "text_delivered", "ALL"])
def test_other_events_of_end_user_messaging_mean_nothing(type_: str):
    assert read_end_user_messaging_event(type_, None, None) is None


@given(st.text())
def test_no_word_raises_and_what_is_not_known_is_kept(value: str):
    meaning = read_record_status(value, "US", None)
    if value not in RECORD_STATUS and meaning.code == 9988 and meaning.reason != "protect_blocked":
        assert meaning.reason == f"unrecognised:{value[:100]}"
        assert meaning.status is Status.FAILED


def test_every_code_has_a_name_and_a_meaning():
    assert list(FAILURE_CODES) == [2000, 2003, 2006, 2008, 2009, 2015, 2016, 2020, 2021, 9988]
    for code, described in FAILURE_CODES.items():
        assert describe(code) is described
        assert described.code == code
        assert described.name
        assert described.meaning.endswith(".")
    assert describe(2001) is None, "a code of the set-up check is none of a delivery"


def test_whatever_fails_has_a_code_that_is_described():
    for meaning in [row(read_record_status(v, None, None)) for v in RECORD_STATUS] + list(EVENT_TYPES.values()):
        assert (meaning[0] == "failed") == (meaning[1] is not None) == (meaning[2] is not None)
        assert meaning[1] is None or describe(meaning[1])


def test_the_manual_tells_the_same():
    page = (Path(__file__).parents[3] / "docs" / "reference" / "failure-codes.md").read_text("utf-8")
    for described in FAILURE_CODES.values():
        assert f"| {described.code} | {described.name} | {described.meaning} |" in page
    for value, (status, code, reason, _) in RECORD_STATUS.items():
        if value not in ("PENDING", "UNKNOWN", "TELEPORTED"):
            shown = f"| {value} | {status} | {code or ''} | {f'`{reason}`' if reason else ''} |"
            assert " ".join(shown.split()) in " ".join(page.split())
