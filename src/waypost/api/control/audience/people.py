"""Change people: create, change and delete profiles, tag them, and export all that is known of one."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream
from msgspec import Meta

from waypost.api.control.audience.profiles import Profile, find_profile, profile_views, read_identifier
from waypost.api.control.calls import Call, permit
from waypost.api.control.events import event_view
from waypost.api.control.message_view import message_view
from waypost.api.paging import NEWEST, After, Limit, Page, cursor, page, position
from waypost.clock import iso
from waypost.domain.audience.lists import MemberState, check_tag
from waypost.domain.values.ids import internal, public
from waypost.engine.audience.lists import add_tags, remove_tag
from waypost.engine.audience.profiles import identify
from waypost.engine.messaging.deletions import delete_profile, message_of_event
from waypost.engine.runtime.unit import Unit
from waypost.errors import Invalid
from waypost.storage.database import Row, Tx

#: The most traits of one request, and the most bytes of all of them as JSON.
MOST_TRAITS, TRAIT_BYTES = 500, 32_000
#: Events that one query of an export reads.
STEP = 500

_encode = msgspec.json.Encoder().encode

Identifier = Annotated[str, Meta(min_length=1, max_length=512)]
SetTraits = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=200)], Any],
    Meta(max_length=MOST_TRAITS, description="Values to set by name; null removes a trait."),
]


class Membership(msgspec.Struct, kw_only=True):
    """A list that a person is or was on."""

    id: str
    name: str
    state: MemberState
    source: str
    changed_at: str


class SetProfile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A person to create, or to change if one of the identifiers is known."""

    user_id: Identifier | None = None
    anonymous_id: Identifier | None = None
    email: Identifier | None = None
    phone: Identifier | None = None
    traits: SetTraits = {}


class ChangeProfile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What changes of a person: traits, and identifiers to add."""

    user_id: Identifier | None = None
    email: Identifier | None = None
    phone: Identifier | None = None
    traits: SetTraits = {}


class Tag(msgspec.Struct, kw_only=True):
    """A tag, and how many profiles have it."""

    tag: str
    profiles: int


@post("/v1/profiles", summary="Create or change a profile", opt={"body": SetProfile}, status_code=200)
async def set_profile(call: NamedDependency[Call]) -> Response[Profile]:
    """Creates a profile, or changes the one that the identifiers lead to, as an identify call does."""
    given = await call.body(SetProfile)
    identifiers = _identifiers(given)
    if not identifiers:
        raise Invalid(
            "A profile needs a user_id, an email, a phone or an anonymous_id.", code="missing_identity", field="user_id"
        )
    traits = _check_traits(given.traits)

    async def work(tx: Tx, unit: Unit) -> Profile:
        profile_id, _ = await identify(tx, unit, call.workspace_id, identifiers, traits)
        return await _view(tx, call.workspace_id, profile_id)

    return await call.record(200, work)


@patch("/v1/profiles/{id:str}", summary="Change a profile", opt={"body": ChangeProfile})
async def change_profile(call: NamedDependency[Call], id: FromPath[str]) -> Response[Profile]:
    """Sets traits, and adds identifiers. An identifier of another person moves by the rules of an identify call."""
    given = await call.body(ChangeProfile)
    identifiers = _identifiers(given)
    traits = _check_traits(given.traits)

    async def work(tx: Tx, unit: Unit) -> Profile:
        known = (await profile_views(tx, [await find_profile(tx, call.workspace_id, internal("pro", id))]))[0]
        own = [
            (kind, value)
            for kind, value in (
                ("user_id", known.user_id),
                ("anonymous_id", next(iter(known.anonymous_ids), None)),
                ("email", known.email),
                ("phone", known.phone),
            )
            if value is not None
        ][:1]
        everything = sorted({*own, *identifiers}, key=lambda pair: (_STRENGTH.index(pair[0]), pair not in own))
        profile_id, _ = await identify(tx, unit, call.workspace_id, everything, traits)
        return await _view(tx, call.workspace_id, profile_id)

    return await call.record(200, work)


@delete("/v1/profiles/{id:str}", summary="Delete a profile and all that is known of the person", status_code=204)
async def remove_profile(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Deletes identifiers, traits, tags and memberships at once; events, messages and links become anonymous soon
    after. Suppressions and unsubscriptions of the person's addresses stay."""

    async def work(tx: Tx, unit: Unit) -> None:
        record = await find_profile(tx, call.workspace_id, internal("pro", id))
        await delete_profile(tx, unit, call.workspace_id, record["id"])

    await call.record(204, work)
    call.engine.deletions_due.wake_at(call.now)


@get("/v1/profiles/{id:str}/lists", summary="List the lists of a profile")
async def list_profile_lists(
    call: NamedDependency[Call], id: FromPath[str], limit: Limit = 50, after: After = None
) -> Page[Membership]:
    """Returns the lists that the person is or was on, the oldest list first."""
    (start,) = position("profile_lists", after, 0)

    async def work(tx: Tx) -> Page[Membership]:
        record = await find_profile(tx, call.workspace_id, internal("pro", id))
        rows = [row for row in await tx.rows("list_members.of_profiles", ids=[record["id"]]) if row[1] > int(start)]
        return page("profile_lists", rows[: limit + 1], limit, _membership, lambda row: int(row[1]))

    return await call.read(work)


@put("/v1/profiles/{id:str}/tags/{tag:str}", summary="Tag a profile")
async def tag_profile(call: NamedDependency[Call], id: FromPath[str], tag: FromPath[str]) -> Response[Profile]:
    """Gives the profile a tag."""
    text = check_tag(tag)

    async def work(tx: Tx, unit: Unit) -> Profile:
        record = await find_profile(tx, call.workspace_id, internal("pro", id))
        await add_tags(tx, unit, call.workspace_id, [(record["id"], text)], events=True)
        return (await profile_views(tx, [record]))[0]

    return await call.record(200, work)


@delete("/v1/profiles/{id:str}/tags/{tag:str}", summary="Remove a tag from a profile", status_code=204)
async def untag_profile(call: NamedDependency[Call], id: FromPath[str], tag: FromPath[str]) -> None:
    """Removes a tag; it is no error if the profile does not have it."""
    text = check_tag(tag)

    async def work(tx: Tx, unit: Unit) -> None:
        record = await find_profile(tx, call.workspace_id, internal("pro", id))
        await remove_tag(tx, unit, call.workspace_id, record["id"], text)

    await call.record(204, work)


@get("/v1/tags", summary="List tags")
async def list_tags(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[Tag]:
    """Returns the tags of the workspace in alphabetical order, with how many profiles have each."""
    (start,) = position("tags", after, "")

    async def work(tx: Tx) -> Page[Tag]:
        rows = await tx.rows("tag_counts.page", workspace_id=call.workspace_id, after=start, n=limit + 1)
        following = cursor("tags", rows[limit - 1][0]) if len(rows) > limit else None
        return Page([Tag(tag=tag, profiles=n) for tag, n in rows[:limit]], following)

    return await call.read(work)


@get("/v1/profiles/{id:str}/export", summary="Export all that is known of a person", media_type="application/json")
async def export_profile(call: NamedDependency[Call], id: FromPath[str]) -> Stream:
    """Returns one JSON object: the profile, its lists, subscriptions with their history, suppressions, events and
    messages."""
    workspace_id = call.workspace_id

    async def start(tx: Tx) -> tuple[int, dict[str, Any]]:
        record = await find_profile(tx, workspace_id, internal("pro", id))
        profile = (await profile_views(tx, [record]))[0]
        return record["id"], {"profile": profile, **await _about_addresses(tx, workspace_id, record["id"], profile)}

    profile_id, known = await call.read(start)

    async def events(tx: Tx, first: int) -> list[Any]:
        return await tx.rows("events.of_profile", profile_id=profile_id, before=first, n=STEP)

    async def messages(tx: Tx, ids: list[int]) -> list[dict[str, Any]]:
        return await tx.records("messages.exported", workspace_id=workspace_id, ids=ids)

    async def parts() -> AsyncIterator[bytes]:
        yield _encode(known)[:-1] + b',"events":['
        found: set[int] = set()
        first, mark = NEWEST, b""
        while rows := await call.read(events, first):
            yield mark + b",".join(_encode(event_view(row)) for row in rows)
            found |= {message for row in rows if (message := message_of_event(row[2], row[5])) is not None}
            first, mark = rows[-1][0], b","
        yield b'],"messages":['
        ordered, mark = sorted(found, reverse=True), b""
        for begin in range(0, len(ordered), STEP):
            if records := await call.read(messages, ordered[begin : begin + STEP]):
                yield mark + b",".join(_encode(_message(record)) for record in records)
                mark = b","
        yield b"]}"

    return Stream(
        parts(),
        media_type="application/json",
        headers={"content-disposition": f'attachment; filename="{public("pro", profile_id)}.json"'},
    )


_STRENGTH = ("user_id", "anonymous_id", "email", "phone")
_CHANNELS = {"email": "email", "phone": "sms"}


def _membership(row: Row) -> Membership:
    _, list_id, name, state, source, changed_at = row
    return Membership(
        id=public("lst", list_id), name=name, state=MemberState(state), source=source, changed_at=iso(changed_at)
    )


async def _about_addresses(tx: Tx, workspace_id: int, profile_id: int, profile: Profile) -> dict[str, Any]:
    lists = [_membership(row) for row in await tx.rows("list_members.of_profiles", ids=[profile_id])]
    subscriptions: list[dict[str, Any]] = []
    suppressions: list[dict[str, Any]] = []
    for kind, addresses in (("email", profile.emails), ("phone", profile.phones)):
        for address in addresses:
            place = {"workspace_id": workspace_id, "channel": _CHANNELS[kind], "address": address}
            for row in await tx.records(
                "subscription_history.list", **place, changed_at=NEWEST, change_key=NEWEST, n=STEP
            ):
                shown = ("channel", "address", "state", "source", "cause")
                subscriptions.append(
                    {name: row[name] for name in shown}
                    | {
                        "changed_at": iso(row["changed_at"]),
                        "proof": msgspec.Raw(row["proof"].encode()),
                        "effective": bool(row["effective"]),
                    }
                )
            suppressions += [
                {"channel": channel, "address": text, "reason": reason, "created_at": iso(created_at)}
                for channel, text, reason, _, _, created_at in await tx.rows("suppressions.get", **place)
            ]
    return {"lists": lists, "subscriptions": subscriptions, "suppressions": suppressions}


def _message(record: dict[str, Any]) -> dict[str, Any]:
    content = record["content"]
    return msgspec.structs.asdict(message_view(record)) | {
        "content": None if content is None else msgspec.Raw(content.encode())
    }


def _identifiers(given: SetProfile | ChangeProfile) -> list[tuple[str, str]]:
    """Return the normalised identifiers of a request, the strongest first."""
    fields = msgspec.structs.asdict(given)
    return [read_identifier(kind, fields[kind]) for kind in _STRENGTH if fields.get(kind) is not None]


def _check_traits(traits: dict[str, Any]) -> dict[str, Any]:
    if len(_encode(traits)) > TRAIT_BYTES:
        raise Invalid(f"The traits have more than {TRAIT_BYTES} bytes.", code="invalid_body", field="traits")
    if any("\0" in name for name in traits) or b"\\u0000" in _encode(traits):
        raise Invalid("A trait cannot contain the character U+0000. Remove it.", code="invalid_text", field="traits")
    return traits


async def _view(tx: Tx, workspace_id: int, profile_id: int) -> Profile:
    return (await profile_views(tx, [await find_profile(tx, workspace_id, profile_id)]))[0]


ROUTES = permit(
    "people",
    [
        set_profile,
        change_profile,
        remove_profile,
        tag_profile,
        untag_profile,
        list_profile_lists,
        list_tags,
        export_profile,
    ],
)
