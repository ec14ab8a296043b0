"""All that is known of a person as one JSON object, of any size: read page by page, and nothing is cut off."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from waypost.api.control.audience.profiles import Profile, profile_views
from waypost.api.control.calls import Call
from waypost.api.control.events import event_view
from waypost.api.control.message_view import message_view
from waypost.api.paging import NEWEST
from waypost.clock import iso, iso_or_none
from waypost.domain.audience.lists import MemberState
from waypost.domain.values.ids import public
from waypost.engine.messaging.deletions import message_of_event, old_messages
from waypost.storage.database import Row, Tx

#: Rows that one query of an export reads.
STEP = 500

_CHANNELS = {"email": "email", "phone": "sms"}
_encode = msgspec.json.Encoder().encode


class Membership(msgspec.Struct, kw_only=True):
    """A list that a person is or was on."""

    id: str
    name: str
    state: MemberState
    source: str
    changed_at: str


async def export_person(call: Call, profile_id: int, record: dict[str, Any]) -> AsyncIterator[bytes]:
    """Yield the parts of the JSON object."""
    known, ids = await call.read(_begin, call.workspace_id, record)
    profile: Profile = known["profile"]
    yield _encode(known)[:-1] + b',"subscriptions":['
    mark = b""
    for kind, addresses in (("email", profile.emails), ("phone", profile.phones)):
        for address in addresses:
            async for text in _history(call, _CHANNELS[kind], address):
                yield mark + text
                mark = b","
    messages: set[int] = set()
    yield b'],"campaigns":['
    async for text in _campaigns(call, ids, messages):
        yield text
    yield b'],"events":['
    first, mark = NEWEST, b""
    while rows := await call.read(_events, profile_id, first):
        yield mark + b",".join(_encode(event_view(row)) for row in rows)
        messages |= {message for row in rows if (message := message_of_event(row[2], row[5])) is not None}
        first, mark = rows[-1][0], b","
    # Those that have outlived their events, such as one that was accepted for next year.
    after, people = 0, set(ids)
    while page := await call.read(old_messages, call.workspace_id, after):
        messages.update(id_ for id_, owner in page if owner in people)
        after = page[-1][0]
    yield b'],"messages":['
    ordered, mark = sorted(messages, reverse=True), b""
    for begin in range(0, len(ordered), STEP):
        if records := await call.read(_messages, call.workspace_id, ordered[begin : begin + STEP]):
            yield mark + b",".join(_encode(_message(one)) for one in records)
            mark = b","
    yield b"]}"


def membership(row: Row) -> Membership:
    """Return the API view of a membership."""
    _, list_id, name, state, source, changed_at = row
    return Membership(
        id=public("lst", list_id), name=name, state=MemberState(state), source=source, changed_at=iso(changed_at)
    )


async def _begin(tx: Tx, workspace_id: int, record: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    """Return what is known of the profile itself, and its id with those of the profiles that were merged into it."""
    profile = (await profile_views(tx, [record]))[0]
    ids = [row[0] for row in await tx.rows("deletions.profiles", workspace_id=workspace_id, id=record["id"])]
    suppressions = [
        {"channel": channel, "address": text, "reason": reason, "created_at": iso(created_at)}
        for channel, text, reason, _, _, created_at in await tx.rows("suppressions.of_profile", profile_id=record["id"])
    ]
    segments = [
        {"id": public("seg", id_), "name": name, "since": iso(since)}
        for id_, name, since in await tx.rows("segment_members.of_person", workspace_id=workspace_id, ids=ids)
    ]
    lists = [membership(row) for row in await tx.rows("list_members.of_profiles", ids=ids)]
    return {"profile": profile, "lists": lists, "segments": segments, "suppressions": suppressions}, ids


async def _history(call: Call, channel: str, address: str) -> AsyncIterator[bytes]:
    """Yield what was said about an address, the latest change first."""
    place = {"workspace_id": call.workspace_id, "channel": channel, "address": address}
    at = key = NEWEST
    while records := await call.read(_said, place, at, key):
        at, key = records[-1]["changed_at"], records[-1]["change_key"]
        yield b",".join(_encode(_change(record)) for record in records)


def _change(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("channel", "address", "state", "source", "cause")} | {
        "changed_at": iso(record["changed_at"]),
        "proof": msgspec.Raw(record["proof"].encode()),
        "effective": bool(record["effective"]),
    }


async def _campaigns(call: Call, ids: list[int], messages: set[int]) -> AsyncIterator[bytes]:
    """Yield what campaigns had for the person, oldest first; add the messages to those that are exported."""
    after, mark = (0, 0), b""
    while found := await call.read(_recipients, call.workspace_id, ids, after):
        rows, clicks = found
        after = (rows[-1][0], rows[-1][1])
        messages |= {row[8] for row in rows if row[8] is not None}
        yield mark + b",".join(_encode(_recipient(row, clicks.get((row[0], row[1]), []))) for row in rows)
        mark = b","


def _recipient(row: Row, clicks: list[dict[str, str]]) -> dict[str, Any]:
    occurrence_id, _, campaign_id, name, status, reason, code, variant, message_id, opened, clicked, converted = row
    return {
        "campaign_id": public("cmp", campaign_id),
        "name": name,
        "occurrence_id": public("occ", occurrence_id),
        "status": status,
        "reason": reason,
        "code": code,
        "variant": variant,
        "message_id": None if message_id is None else public("msg", message_id),
        "opened_at": iso_or_none(opened),
        "clicked_at": iso_or_none(clicked),
        "converted_at": iso_or_none(converted),
        "clicks": clicks,
    }


async def _recipients(
    tx: Tx, workspace_id: int, ids: list[int], after: tuple[int, int]
) -> tuple[list[Row], dict[tuple[int, int], list[dict[str, str]]]] | None:
    """Return a page of rows of ledgers with the clicks of each; None if there are no more."""
    rows = await tx.rows(
        "recipients.of_person",
        workspace_id=workspace_id,
        ids=ids,
        occurrence_id=after[0],
        profile_id=after[1],
        n=STEP,
    )
    if not rows:
        return None
    clicks: dict[tuple[int, int], list[dict[str, str]]] = {}
    for occurrence_id, profile_id, link, at in await tx.rows(
        "campaign_clicks.of_person", ids=ids, occurrences=[row[0] for row in rows]
    ):
        clicks.setdefault((occurrence_id, profile_id), []).append({"url": link, "clicked_at": iso(at)})
    return rows, clicks


async def _said(tx: Tx, place: dict[str, Any], at: int, key: int) -> list[dict[str, Any]]:
    return await tx.records("subscription_history.list", **place, changed_at=at, change_key=key, n=STEP)


async def _events(tx: Tx, profile_id: int, before: int) -> list[Row]:
    return await tx.rows("events.of_profile", profile_id=profile_id, before=before, n=STEP)


async def _messages(tx: Tx, workspace_id: int, ids: list[int]) -> list[dict[str, Any]]:
    return await tx.records("messages.exported", workspace_id=workspace_id, ids=ids)


def _message(record: dict[str, Any]) -> dict[str, Any]:
    content = record["content"]
    return msgspec.structs.asdict(message_view(record)) | {
        "content": None if content is None else msgspec.Raw(content.encode())
    }
