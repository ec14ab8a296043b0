"""Change people: create, change and delete profiles, tag them, and export all that is known of one."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream
from msgspec import Meta

from waypost.api.control.audience.person_export import Membership, export_person, membership
from waypost.api.control.audience.profiles import Profile, find_profile, profile_views, read_identifier
from waypost.api.control.calls import Call, permit
from waypost.api.paging import After, Limit, Page, cursor, page, position
from waypost.domain.audience.lists import check_tag
from waypost.domain.values.ids import internal, public
from waypost.engine.audience.lists import add_tags, remove_tag
from waypost.engine.audience.profiles import identify
from waypost.engine.messaging.deletions import delete_profile
from waypost.engine.runtime.unit import Unit
from waypost.errors import Invalid
from waypost.storage.database import Tx

#: The most traits of one request, and the most bytes of all of them as JSON.
MOST_TRAITS, TRAIT_BYTES = 500, 32_000

_encode = msgspec.json.Encoder().encode

Identifier = Annotated[str, Meta(min_length=1, max_length=512)]
SetTraits = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=200)], Any],
    Meta(max_length=MOST_TRAITS, description="Values to set by name; null removes a trait."),
]


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
        return page("profile_lists", rows[: limit + 1], limit, membership, lambda row: int(row[1]))

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
    """Returns one JSON object: the profile, its lists and tracked segments, subscriptions with their history,
    suppressions, what campaigns had for the person, events and messages."""

    async def start(tx: Tx) -> dict[str, Any]:
        return await find_profile(tx, call.workspace_id, internal("pro", id))

    record = await call.read(start)
    return Stream(
        export_person(call, record["id"], record),
        media_type="application/json",
        headers={"content-disposition": f'attachment; filename="{public("pro", record["id"])}.json"'},
    )


_STRENGTH = ("user_id", "anonymous_id", "email", "phone")


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
