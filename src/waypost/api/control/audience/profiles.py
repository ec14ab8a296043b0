"""Profiles: list, find, get, and their events."""

import re
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from waypost.api.control.calls import Call, permit
from waypost.api.control.events import Event, event_view
from waypost.api.paging import After, Limit, Page, before, cursor, page, position, scan
from waypost.clock import iso
from waypost.domain.audience.profiles import Traits, current
from waypost.domain.values.contacts import normal_email, normal_phone
from waypost.domain.values.ids import internal, public
from waypost.errors import Invalid, NotFound
from waypost.storage.database import Row, Tx

#: The kinds of identifiers, in the order in which they are searched.
KINDS = ("email", "phone", "user_id", "anonymous_id")

_traits = msgspec.json.Decoder(Traits)
_encode = msgspec.json.Encoder().encode
_NOT_PHONE = re.compile(r"[^\d+]")
_LITERAL = re.compile(r"-?\d+(\.\d+)?|true|false")


class Profile(msgspec.Struct, kw_only=True):
    """A person, as known from all their identifiers."""

    id: str
    #: The latest identifier of each kind; the lists below hold all of them.
    user_id: str | None
    email: str | None
    phone: str | None
    user_ids: list[str]
    anonymous_ids: list[str]
    emails: list[str]
    phones: list[str]
    traits: dict[str, Any]
    tags: list[str]
    created_at: str
    updated_at: str
    #: Profiles that were merged into this one; their ids return this profile.
    merged_ids: list[str]


def _identifier(name: str, description: str) -> Any:
    return QueryParameter(name=name, max_length=512, description=description)


UserId = Annotated[str | None, _identifier("user_id", "Return the profile with this userId.")]
AnonymousId = Annotated[str | None, _identifier("anonymous_id", "Return the profile with this anonymousId.")]
Email = Annotated[str | None, _identifier("email", "Return the profile with this email address.")]
Phone = Annotated[
    str | None, _identifier("phone", "Return the profile with this phone number, including the country code.")
]


Prefix = Annotated[
    str | None,
    QueryParameter(
        name="query", min_length=1, max_length=320, description="The first characters of an identifier of the profile."
    ),
]
TraitName = Annotated[
    str | None,
    QueryParameter(name="trait", min_length=1, max_length=200, description="Return only profiles with this trait."),
]
TraitValue = Annotated[
    str | None,
    QueryParameter(
        name="value", max_length=1000, description="The value of `trait`; a number or true matches both kinds."
    ),
]


@get("/v1/profiles", summary="List or search profiles")
async def list_profiles(
    call: NamedDependency[Call],
    user_id: UserId = None,
    anonymous_id: AnonymousId = None,
    email: Email = None,
    phone: Phone = None,
    prefix: Prefix = None,
    trait: TraitName = None,
    value: TraitValue = None,
    limit: Limit = 50,
    after: After = None,
) -> Page[Profile]:
    """Returns all profiles, newest first; with an identifier, the matching profile or an empty list; with `query`,
    profiles in the order of their identifiers. With `trait`, a page can be short or empty; continue until `next` is
    null."""
    given = {"user_id": user_id, "anonymous_id": anonymous_id, "email": email, "phone": phone}
    identifiers = [(kind, text) for kind, text in given.items() if text is not None]
    if len(identifiers) + (prefix is not None) + (trait is not None) > 1:
        raise Invalid(
            "The query has several conditions. Give only one of user_id, anonymous_id, email, phone, query and trait.",
            code="several_identifiers",
        )
    if (trait is None) != (value is None):
        raise Invalid("`trait` and `value` belong together: give both.", code="invalid_parameter")
    if prefix is not None:
        return await call.read(find_by_prefix, call.workspace_id, prefix, limit, after)
    if trait is not None and value is not None:
        return await call.read(find_by_trait, call.workspace_id, trait, value, limit, after)
    identifier = read_identifier(*identifiers[0]) if identifiers else None

    async def work(tx: Tx) -> Page[Profile]:
        if identifier is None:
            records = await tx.records(
                "profiles.list", workspace_id=call.workspace_id, before=before("profiles", after), n=limit + 1
            )
        else:
            kind, text = identifier
            records = await tx.records("profiles.find", workspace_id=call.workspace_id, kind=kind, value=text)
        views = {profile.id: profile for profile in await profile_views(tx, records[:limit])}
        return page(
            "profiles", records, limit, lambda record: views[public("pro", record["id"])], lambda record: record["id"]
        )

    return await call.read(work)


async def find_by_prefix(tx: Tx, workspace_id: int, query: str, limit: int, after: str | None) -> Page[Profile]:
    """Return profiles one of whose identifiers begins with a text; each kind of identifier in turn."""
    if "\0" in query:
        raise Invalid("`query` cannot contain the character U+0000. Remove it.", code="invalid_parameter")
    kind, value = position("profile_search", after, KINDS[0], "")
    if kind not in KINDS:
        raise Invalid(
            "`after` is not a cursor of this list. Use the `next` of its previous page.", code="invalid_cursor"
        )
    found: list[tuple[str, dict[str, Any]]] = []
    for one in KINDS[KINDS.index(str(kind)) :]:
        first = {"email": query.strip().lower(), "phone": _NOT_PHONE.sub("", query)}.get(one, query.strip())
        if not first or (one == "phone" and not first.startswith("+")):
            continue
        rows = await tx.records(
            "identities.prefix",
            workspace_id=workspace_id,
            kind=one,
            first=first,
            last=first + "\U0010ffff",
            after=value if one == kind else "",
            n=limit + 1 - len(found),
        )
        found += [(one, row) for row in rows]
        if len(found) > limit:
            break
    # A profile with several such identifiers is on a page once.
    records = list({row["id"]: row for _, row in found[:limit]}.values())
    following = None
    if len(found) > limit:
        last_kind, last = found[limit - 1]
        following = cursor("profile_search", last_kind, last["value"])
    return Page(await profile_views(tx, records), following)


async def find_by_trait(
    tx: Tx, workspace_id: int, trait: str, value: str, limit: int, after: str | None
) -> Page[Profile]:
    """Return profiles whose trait has a value, newest first."""
    if "\0" in trait + value:
        raise Invalid("A trait cannot contain the character U+0000. Remove it.", code="invalid_parameter")
    text = _encode(value).decode()
    literal = value if _LITERAL.fullmatch(value) else text
    place = {"workspace_id": workspace_id}
    found = await scan(
        "profiles_by_trait",
        limit,
        before("profiles_by_trait", after),
        partial(tx.records, "profiles.stretch", **place, trait=trait, text=text, literal=literal),
        partial(tx.row, "profiles.stretch_end", **place),
        lambda record: record,
        lambda record: int(record["id"]),
    )
    return Page(await profile_views(tx, found.data), found.next)


@get("/v1/profiles/{id:str}", summary="Get a profile")
async def get_profile(call: NamedDependency[Call], id: FromPath[str]) -> Profile:
    """Returns the profile with this id; if it was merged, the profile that it was merged into."""

    async def work(tx: Tx) -> Profile:
        return (await profile_views(tx, [await find_profile(tx, call.workspace_id, internal("pro", id))]))[0]

    return await call.read(work)


@get("/v1/profiles/{id:str}/events", summary="List the events of a profile")
async def list_profile_events(
    call: NamedDependency[Call], id: FromPath[str], limit: Limit = 50, after: After = None
) -> Page[Event]:
    """Returns the events of a profile and of all profiles merged into it, newest first."""

    async def work(tx: Tx) -> list[Row]:
        profile = await find_profile(tx, call.workspace_id, internal("pro", id))
        first = before("profile_events", after)
        return await tx.rows("events.of_profile", profile_id=profile["id"], before=first, n=limit + 1)

    return page("profile_events", await call.read(work), limit, event_view, lambda row: int(row[0]))


def read_identifier(kind: str, value: str) -> tuple[str, str]:
    """Return the kind and the normalized value of an identifier; raise Invalid if it is not valid."""
    normal = {"email": normal_email, "phone": normal_phone}.get(kind, str.strip)(value)
    if not normal or "\0" in normal:
        raise Invalid(f"{value[:80]!r} is not a valid {kind}.", code="invalid_identifier")
    return kind, normal


async def find_profile(tx: Tx, workspace_id: int, id_: int) -> dict[str, Any]:
    """Return the record of a profile, or of the profile that it was merged into."""
    seen: set[int] = set()
    while id_ not in seen:
        seen.add(id_)
        records = await tx.records("profiles.get", workspace_id=workspace_id, id=id_)
        if not records:
            break
        if records[0]["merged_into"] is None:
            return records[0]
        id_ = records[0]["merged_into"]
    raise NotFound("No profile with this id exists in this workspace.")


async def profile_views(tx: Tx, records: list[dict[str, Any]]) -> list[Profile]:
    ids = [record["id"] for record in records]
    identities: dict[tuple[int, str], list[str]] = {}
    for profile_id, kind, value in await tx.rows("identities.of_many", ids=ids):
        identities.setdefault((profile_id, kind), []).append(value)
    tags: dict[int, list[str]] = {}
    for profile_id, tag in await tx.rows("tags.of_profiles", ids=ids):
        tags.setdefault(profile_id, []).append(tag)
    merged: dict[int, list[str]] = {}
    for profile_id, id_ in await tx.rows("profiles.merged_into_many", ids=ids):
        merged.setdefault(profile_id, []).append(public("pro", id_))
    found = []
    for record in records:
        user_ids, anonymous_ids, emails, phones = (
            identities.get((record["id"], kind), []) for kind in ("user_id", "anonymous_id", "email", "phone")
        )
        # The previous id of an alias call is stored as both kinds of id; the person's own user id comes first.
        user_ids.sort(key=anonymous_ids.__contains__)
        found.append(
            Profile(
                id=public("pro", record["id"]),
                user_id=next(iter(user_ids), None),
                email=next(iter(emails), None),
                phone=next(iter(phones), None),
                user_ids=user_ids,
                anonymous_ids=anonymous_ids,
                emails=emails,
                phones=phones,
                traits=current(_traits.decode(record["traits"])),
                tags=tags.get(record["id"], []),
                created_at=iso(record["created_at"]),
                updated_at=iso(record["updated_at"]),
                merged_ids=merged.get(record["id"], []),
            )
        )
    return found


ROUTES = permit("people", [list_profiles, get_profile, list_profile_events])
