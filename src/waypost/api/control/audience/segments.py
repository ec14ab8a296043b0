"""Segments: create, list, get, change, delete, preview, members."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Meta, UnsetType

from waypost.api.control.calls import KEYLESS, NAMES, Call, permit
from waypost.api.paging import After, Limit, Page, before, cursor, page, position
from waypost.clock import iso
from waypost.domain.audience.profiles import Traits, current
from waypost.domain.values.ids import internal, public
from waypost.engine.audience import segments
from waypost.engine.audience.audiences import NOBODY, AudienceSet, page_of_audience
from waypost.errors import Invalid
from waypost.storage.database import Tx

_traits = msgspec.json.Decoder(Traits)
#: The versions that are returned at most.
MOST_VERSIONS = 1000

Name = Annotated[str, Meta(description="A display name.", min_length=1, max_length=200)]
ConditionTree = Annotated[
    dict[str, Any],
    Meta(
        description="The condition, a tree. See the reference page of segments.",
        examples=[{"all": [{"trait": "plan", "is": "pro"}, {"event": "Order Shipped", "within": "30d"}]}],
    ),
]
Tracked = Annotated[
    bool,
    Meta(description="Whether the members are kept up all the time, with the events `segment.entered` and `left`."),
]
Announces = Annotated[
    bool, Meta(description="Whether those who are members already enter with an event when tracking begins.")
]


class CreateSegment(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The parameters of a new segment."""

    name: Name
    condition: ConditionTree
    tracked: Tracked = True
    announce_existing: Announces = False


class UpdateSegment(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields to update. Another condition makes a new version."""

    name: Name | UnsetType = UNSET
    condition: ConditionTree | UnsetType = UNSET
    tracked: Tracked | UnsetType = UNSET
    announce_existing: Announces = False


class PreviewSegment(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A condition that is not saved."""

    condition: ConditionTree


class Segment(msgspec.Struct, kw_only=True):
    """A saved segment."""

    id: str
    name: str
    condition: dict[str, Any]
    version: int
    tracked: bool
    #: False while a tracked segment's members are being found, after it was created or changed.
    complete: bool
    created_at: str
    updated_at: str


class SegmentVersion(msgspec.Struct, kw_only=True):
    """A version of a segment."""

    version: int
    condition: dict[str, Any]
    created_at: str


class SegmentPerson(msgspec.Struct, kw_only=True):
    """A person in a segment."""

    id: str
    user_id: str | None
    email: str | None
    phone: str | None
    traits: dict[str, Any]


class SegmentPreview(msgspec.Struct, kw_only=True):
    """How many people are in a segment, and some of them."""

    count: int
    #: Whether the count is an estimate from some people, because counting took too long.
    approximate: bool
    sample: list[SegmentPerson]


def _id(text: str) -> int:
    return internal("seg", text)


def _segment_view(segment: segments.SavedSegment) -> Segment:
    return Segment(
        id=public("seg", segment.id),
        name=segment.name,
        condition=segment.condition,
        version=segment.version,
        tracked=segment.tracked,
        complete=segment.complete,
        created_at=iso(segment.created_at),
        updated_at=iso(segment.updated_at),
    )


def _check_name(name: str) -> str:
    if not name.strip() or "\0" in name:
        raise Invalid("A segment needs a name that is not blank.", code="invalid_name", field="name")
    return name.strip()


@post("/v1/segments", summary="Create a segment", opt={"body": CreateSegment, **NAMES})
async def create_segment(call: NamedDependency[Call]) -> Response[Segment]:
    """Creates a segment. An error names the part of the condition that is not valid."""
    body = await call.body(CreateSegment)
    name = _check_name(body.name)

    async def work(tx: Tx) -> Segment:
        return _segment_view(
            await segments.create_segment(
                tx,
                call.engine.ids,
                call.workspace_id,
                name,
                body.condition,
                body.tracked,
                body.announce_existing,
                call.now,
            )
        )

    return await call.perform(201, work)


@get("/v1/segments", summary="List segments")
async def list_segments(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[Segment]:
    """Returns segments, newest first."""
    found = await call.read(segments.list_segments, call.workspace_id, before("segments", after), limit + 1)
    return page("segments", found, limit, _segment_view, lambda segment: segment.id)


@get("/v1/segments/{id:str}", summary="Get a segment")
async def get_segment(call: NamedDependency[Call], id: FromPath[str]) -> Segment:
    """Returns a segment in its present version."""
    return _segment_view(await call.read(segments.find_segment, call.workspace_id, _id(id)))


@get("/v1/segments/{id:str}/versions", summary="List the versions of a segment")
async def list_segment_versions(call: NamedDependency[Call], id: FromPath[str]) -> Page[SegmentVersion]:
    """Returns the newest 1,000 versions of a segment, newest first."""

    async def work(tx: Tx) -> list[SegmentVersion]:
        segment = await segments.find_segment(tx, call.workspace_id, _id(id))
        rows = await tx.rows("segments.versions", workspace_id=call.workspace_id, id=segment.id, n=MOST_VERSIONS)
        return [
            SegmentVersion(version=version, condition=msgspec.json.decode(condition), created_at=iso(at))
            for version, condition, at in rows
        ]

    return Page(await call.read(work))


@patch("/v1/segments/{id:str}", summary="Update a segment", opt={"body": UpdateSegment})
async def update_segment(call: NamedDependency[Call], id: FromPath[str]) -> Response[Segment]:
    """Updates a segment. Another condition makes a new version."""
    body = await call.body(UpdateSegment)

    async def work(tx: Tx) -> Segment:
        was = await segments.find_segment(tx, call.workspace_id, _id(id))
        name = was.name if body.name is UNSET else _check_name(body.name)
        tree = was.condition if body.condition is UNSET else body.condition
        tracked = was.tracked if body.tracked is UNSET else body.tracked
        return _segment_view(
            await segments.change_segment(
                tx,
                call.engine.ids,
                call.workspace_id,
                was,
                name,
                tree,
                tracked,
                body.announce_existing,
                call.now,
            )
        )

    return await call.perform(200, work)


@delete("/v1/segments/{id:str}", summary="Delete a segment")
async def delete_segment(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Deletes a segment; refused while another segment or a campaign that is not over names it."""
    await call.transact(segments.delete_segment, call.engine.ids, call.workspace_id, _id(id), call.now)


@post(
    "/v1/segments/preview",
    status_code=200,
    summary="Preview a condition",
    opt={"body": PreviewSegment, "permission": "people.read", **KEYLESS, **NAMES},
)
async def preview_segment(call: NamedDependency[Call]) -> SegmentPreview:
    """Counts the people for whom a condition holds, and returns up to ten of them. Nothing is saved."""
    body = await call.body(PreviewSegment)
    condition = await call.read(segments.check_condition, call.workspace_id, body.condition)
    return await _preview(
        call, await segments.count_people(call.engine.database, call.workspace_id, condition, call.now)
    )


@get("/v1/segments/{id:str}/count", summary="Count the people in a segment")
async def count_segment(call: NamedDependency[Call], id: FromPath[str]) -> SegmentPreview:
    """Counts the people in a segment now, and returns up to ten of them."""
    segment = await call.read(segments.find_segment, call.workspace_id, _id(id))
    condition = await call.read(segments.check_condition, call.workspace_id, segment.condition)
    return await _preview(
        call, await segments.count_people(call.engine.database, call.workspace_id, condition, call.now)
    )


@get("/v1/segments/{id:str}/members", summary="List the people in a segment")
async def list_segment_members(
    call: NamedDependency[Call], id: FromPath[str], limit: Limit = 50, after: After = None
) -> Page[SegmentPerson]:
    """Returns the people who are in a segment now, the oldest profile first."""
    first = int(position("segment_members", after, 0)[0])

    async def work(tx: Tx) -> tuple[list[int], list[SegmentPerson]]:
        segment = await segments.find_segment(tx, call.workspace_id, _id(id))
        audience = AudienceSet(segments=(segment.id,))
        ids = await page_of_audience(tx, call.workspace_id, audience, NOBODY, first, limit + 1, call.now)
        return ids, await _people(tx, ids[:limit])

    ids, people = await call.read(work)
    return Page(people, cursor("segment_members", ids[limit - 1]) if len(ids) > limit else None)


async def _preview(call: Call, found: segments.SegmentCount) -> SegmentPreview:
    sample = await call.read(_people, found.sample)
    return SegmentPreview(count=found.count, approximate=found.approximate, sample=sample)


async def _people(tx: Tx, ids: list[int]) -> list[SegmentPerson]:
    traits: dict[int, str] = {}
    latest: dict[tuple[int, str | None], str] = {}
    for id_, text, kind, value in await tx.rows("segments.people", ids=ids):
        traits[id_] = text
        latest.setdefault((id_, kind), value)
    return [
        SegmentPerson(
            id=public("pro", id_),
            user_id=latest.get((id_, "user_id")),
            email=latest.get((id_, "email")),
            phone=latest.get((id_, "phone")),
            traits=current(_traits.decode(traits[id_])),
        )
        for id_ in ids
    ]


ROUTES = permit(
    "people",
    [
        create_segment,
        list_segments,
        get_segment,
        list_segment_versions,
        update_segment,
        delete_segment,
        preview_segment,
        count_segment,
        list_segment_members,
    ],
)
