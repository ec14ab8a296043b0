"""Lists: named databases of contacts, and their members."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from waypost.api.control.audience.profiles import find_profile, read_identifier
from waypost.api.control.calls import NAMES, Call, permit
from waypost.api.paging import After, Limit, Page, before, cursor, page, position
from waypost.clock import iso
from waypost.domain.audience.lists import MemberAction, MemberState
from waypost.domain.values.ids import internal, public
from waypost.engine.audience import segments
from waypost.engine.audience.lists import (
    ContactList,
    count_members,
    create_list,
    find_list,
    move_members,
    page_of_members,
    read_list,
    remove_members,
)
from waypost.engine.runtime.unit import Unit
from waypost.errors import Invalid, NotFound
from waypost.storage.database import Tx

#: The most people of one request.
MOST = 1000

_encode = msgspec.json.Encoder().encode
_claims = msgspec.json.Decoder(list[tuple[int, str, str, int, int]])

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Source = Annotated[str, Meta(min_length=1, max_length=64, description="How it is known, such as `form` or `fair`.")]


StateFilter = Annotated[
    str | None,
    QueryParameter(
        name="state",
        pattern="^(pending|subscribed|unsubscribed)$",
        description="Return only members in this state.",
    ),
]


class CreateList(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A list to create."""

    name: Name
    double_opt_in: Annotated[bool, Meta(description="People must confirm by mail before they are on the list.")] = False
    template_id: (
        Annotated[str, Meta(description="The email template of the confirmation; it has the variable `confirm_url`.")]
        | None
    ) = None


class UpdateList(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What changes of a list."""

    name: Name | UnsetType = UNSET
    double_opt_in: bool | UnsetType = UNSET
    template_id: str | UnsetType | None = UNSET


class MemberCounts(msgspec.Struct, kw_only=True):
    """How many people are on a list, by state."""

    subscribed: int
    pending: int
    unsubscribed: int


class List(msgspec.Struct, kw_only=True):
    """A named database of contacts."""

    id: str
    name: str
    double_opt_in: bool
    template_id: str | None
    members: MemberCounts
    created_at: str
    updated_at: str


class PersonName(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A person, by exactly one of these."""

    profile_id: str | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    email: Annotated[str, Meta(max_length=320)] | None = None
    phone: Annotated[str, Meta(max_length=64)] | None = None


class AddMembers(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """People to add to a list."""

    people: Annotated[list[PersonName], Meta(min_length=1, max_length=MOST)]
    source: Source = "api"
    confirmed: Annotated[
        bool, Meta(description="They have confirmed already: nobody is asked, also on a list with double opt-in.")
    ] = False


class RemoveMembers(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """People to remove from a list."""

    people: Annotated[list[PersonName], Meta(min_length=1, max_length=MOST)]
    source: Source = "api"
    unsubscribe: Annotated[
        bool,
        Meta(description="They left by themselves: they stay in the list as unsubscribed, and no import adds them."),
    ] = False


class MemberLine(msgspec.Struct, omit_defaults=True):
    """The result for one person: the profile and the state, or why there is none."""

    profile_id: str | None = None
    state: MemberState | None = None
    error: str | None = None


class MembersChanged(msgspec.Struct, kw_only=True):
    """The result for each person, in the order of the request."""

    data: list[MemberLine]
    changed: int
    unknown: int


class Member(msgspec.Struct, kw_only=True):
    """A member of a list."""

    profile_id: str
    user_id: str | None
    email: str | None
    phone: str | None
    state: MemberState
    source: str
    changed_at: str


@post("/v1/lists", summary="Create a list", opt={"body": CreateList} | NAMES, status_code=201)
async def make_list(call: NamedDependency[Call]) -> Response[List]:
    """Creates a list. Several lists may have the same name."""
    given = await call.body(CreateList)
    name = _check_name(given.name)

    async def work(tx: Tx, unit: Unit) -> List:
        template_id = await _template(tx, call.workspace_id, given.template_id)
        made = await create_list(
            tx,
            unit.ids,
            call.workspace_id,
            name,
            unit.now,
            double_opt_in=given.double_opt_in,
            template_id=template_id,
        )
        return (await _views(tx, [made]))[0]

    return await call.record(201, work)


@get("/v1/lists", summary="List the lists")
async def list_lists(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[List]:
    """Returns the lists with how many members they have, newest first."""

    async def work(tx: Tx) -> Page[List]:
        rows = await tx.rows("lists.page", workspace_id=call.workspace_id, before=before("lists", after), n=limit + 1)
        views = {view.id: view for view in await _views(tx, [read_list(row) for row in rows[:limit]])}
        return page("lists", rows, limit, lambda row: views[public("lst", row[0])], lambda row: int(row[0]))

    return await call.read(work)


@get("/v1/lists/{id:str}", summary="Get a list")
async def get_list(call: NamedDependency[Call], id: FromPath[str]) -> List:
    """Returns a list with how many members it has."""

    async def work(tx: Tx) -> List:
        return (await _views(tx, [await find_list(tx, call.workspace_id, internal("lst", id))]))[0]

    return await call.read(work)


@patch("/v1/lists/{id:str}", summary="Change a list", opt={"body": UpdateList})
async def update_list(call: NamedDependency[Call], id: FromPath[str]) -> Response[List]:
    """Changes a list. Members that are pending stay so when double opt-in is switched off."""
    given = await call.body(UpdateList)

    async def work(tx: Tx, unit: Unit) -> List:
        known = await find_list(tx, call.workspace_id, internal("lst", id))
        template_id = known.template_id
        if given.template_id is not UNSET:
            template_id = await _template(tx, call.workspace_id, given.template_id)
        changed = msgspec.structs.replace(
            known,
            name=known.name if given.name is UNSET else _check_name(given.name),
            double_opt_in=known.double_opt_in if given.double_opt_in is UNSET else given.double_opt_in,
            template_id=template_id,
            updated_at=unit.now,
        )
        await tx.run(
            "lists.update",
            id=known.id,
            name=changed.name,
            double_opt_in=int(changed.double_opt_in),
            template_id=template_id,
            now=unit.now,
        )
        return (await _views(tx, [changed]))[0]

    return await call.record(200, work)


@delete("/v1/lists/{id:str}", summary="Delete a list")
async def delete_list(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Deletes a list and its memberships. The people stay. A list that a segment or a campaign that is not over names
    stays, too."""

    async def work(tx: Tx) -> None:
        await segments.delete_list(tx, call.workspace_id, internal("lst", id), call.now)

    await call.perform(204, work)


@get("/v1/lists/{id:str}/members", summary="List the members of a list")
async def list_members(
    call: NamedDependency[Call], id: FromPath[str], state_: StateFilter = None, limit: Limit = 50, after: After = None
) -> Page[Member]:
    """Returns the members, the oldest profile first."""
    state = None if state_ is None else MemberState(state_)
    (start,) = position("list_members", after, 0)

    async def work(tx: Tx) -> Page[Member]:
        known = await find_list(tx, call.workspace_id, internal("lst", id))
        rows = await page_of_members(tx, known.id, state, int(start), limit + 1)
        found: dict[tuple[int, str], str] = {}
        for profile_id, kind, value in await tx.rows("identities.of_many", ids=[row[0] for row in rows]):
            found.setdefault((profile_id, kind), value)
        members = [
            Member(
                profile_id=public("pro", profile_id),
                user_id=found.get((profile_id, "user_id")),
                email=found.get((profile_id, "email")),
                phone=found.get((profile_id, "phone")),
                state=MemberState(is_now),
                source=source,
                changed_at=iso(changed_at),
            )
            for profile_id, is_now, source, changed_at in rows[:limit]
        ]
        return Page(members, cursor("list_members", rows[limit - 1][0]) if len(rows) > limit else None)

    return await call.read(work)


@post("/v1/lists/{id:str}/members", summary="Add people to a list", opt={"body": AddMembers}, status_code=200)
async def add_members(call: NamedDependency[Call], id: FromPath[str]) -> Response[MembersChanged]:
    """Adds people that are known, by profile id, user id, email or phone. On a list with double opt-in they are asked
    by mail first."""
    given = await call.body(AddMembers)
    action = MemberAction.CONFIRM if given.confirmed else MemberAction.ADD
    return await _change(call, id, given.people, action, given.source)


@post(
    "/v1/lists/{id:str}/members/remove",
    summary="Remove people from a list",
    opt={"body": RemoveMembers},
    status_code=200,
)
async def remove_people(call: NamedDependency[Call], id: FromPath[str]) -> Response[MembersChanged]:
    """Removes people from a list, or marks them as unsubscribed."""
    given = await call.body(RemoveMembers)
    return await _change(call, id, given.people, MemberAction.LEAVE if given.unsubscribe else None, given.source)


async def _change(
    call: Call, id_: str, people: Sequence[PersonName], action: MemberAction | None, source: str
) -> Response[MembersChanged]:
    for number, person in enumerate(people):
        _check_person(person, number)

    async def work(tx: Tx, unit: Unit) -> MembersChanged:
        known = await find_list(tx, call.workspace_id, internal("lst", id_))
        found = await find_people(tx, call.workspace_id, people)
        profiles = [one for one in found if one is not None]
        states: dict[int, MemberState | None] = {}
        if action is None:
            await remove_members(tx, unit, call.workspace_id, known, profiles, source)
        else:
            states = await move_members(tx, unit, call.workspace_id, known, profiles, action, source, events=True)
        lines = [
            MemberLine(error="There is no profile with this identifier.")
            if one is None
            else MemberLine(public("pro", one), states.get(one))
            for one in found
        ]
        return MembersChanged(data=lines, changed=len(set(profiles)), unknown=len(found) - len(profiles))

    return await call.record(200, work)


def _check_person(person: PersonName, number: int) -> None:
    if len(msgspec.structs.asdict(person)) - list(msgspec.structs.asdict(person).values()).count(None) != 1:
        raise Invalid(
            f"Name a person by exactly one of profile_id, user_id, email and phone (people[{number}]).",
            code="invalid_person",
            field=f"people[{number}]",
        )


async def find_people(tx: Tx, workspace_id: int, people: Sequence[PersonName]) -> list[int | None]:
    """Return the profiles of people, None for unknown ones; one query for all identifiers."""
    keys: dict[int, tuple[int, str, str]] = {}
    found: list[int | None] = [None] * len(people)
    for number, person in enumerate(people):
        if person.profile_id is not None:
            try:
                record = await find_profile(tx, workspace_id, internal("pro", person.profile_id))
            except NotFound:
                continue
            found[number] = record["id"]
            continue
        kind, value = next((kind, value) for kind, value in msgspec.structs.asdict(person).items() if value is not None)
        try:
            keys[number] = (workspace_id, *read_identifier(kind, value))
        except Invalid:
            continue
    if keys:
        row = await tx.row("identities.find", wanted=_encode(sorted(set(keys.values()))).decode())
        claims = {(ws, kind, value): id_ for ws, kind, value, id_, _ in _claims.decode(row[0] if row else "[]")}
        for number, key in keys.items():
            found[number] = claims.get(key)
    return found


async def _template(tx: Tx, workspace_id: int, template_id: str | None) -> int | None:
    if template_id is None:
        return None
    id_ = internal("tpl", template_id)
    row = await tx.row("templates.get", workspace_id=workspace_id, id=id_, version=0)
    if row is None or row[2] != "email":
        raise NotFound(
            f"There is no email template {template_id[:40]} in this workspace; GET /v1/templates lists all.",
            code="unknown_template",
        )
    return id_


def _check_name(name: str) -> str:
    text = name.strip()
    if not text or not text.isprintable():
        raise Invalid("The name of a list may contain only printable characters.", code="invalid_name", field="name")
    return text


async def _views(tx: Tx, lists: Sequence[ContactList]) -> list[List]:
    counts = await count_members(tx, [one.id for one in lists])
    return [
        List(
            id=public("lst", one.id),
            name=one.name,
            double_opt_in=one.double_opt_in,
            template_id=None if one.template_id is None else public("tpl", one.template_id),
            members=MemberCounts(**{state.value: n for state, n in counts[one.id].items()}),
            created_at=iso(one.created_at),
            updated_at=iso(one.updated_at),
        )
        for one in lists
    ]


ROUTES = permit(
    "people",
    [
        make_list,
        list_lists,
        get_list,
        update_list,
        delete_list,
        list_members,
        add_members,
        remove_people,
    ],
)
