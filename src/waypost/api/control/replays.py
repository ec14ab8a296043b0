"""Replays: queue past events for an endpoint again."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from waypost.api.control.calls import Call, permit
from waypost.api.control.webhooks import webhook_id
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import iso
from waypost.domain.values.ids import internal, public
from waypost.domain.values.times import parse_time
from waypost.domain.webhooks.event_patterns import check_patterns
from waypost.engine.webhooks import deliveries, endpoints
from waypost.errors import Invalid
from waypost.storage.database import Tx

States = Literal["dead", "missed", "delivered", "undelivered", "all"]
_MEANING: dict[str, tuple[str, ...]] = {"undelivered": deliveries.UNDELIVERED, "all": deliveries.EVERYTHING}
_strings = msgspec.json.Decoder(list[str])


class StartReplay(msgspec.Struct, forbid_unknown_fields=True):
    """The events to replay."""

    since: Annotated[
        str | None,
        Meta(
            description="ISO 8601. By default the time of the oldest dead delivery, or when the endpoint was disabled."
        ),
    ] = None
    until: Annotated[str | None, Meta(description="ISO 8601; by default now.")] = None
    state: Annotated[
        States | list[States],
        Meta(
            description="`missed` events have no delivery yet; `undelivered` is `dead` and `missed`, `all` every state."
        ),
    ] = "undelivered"
    types: Annotated[
        list[Annotated[str, Meta(min_length=1)]], Meta(description="Replay only events of these types or globs.")
    ] = []


class Replay(msgspec.Struct, kw_only=True):
    """A replay with its progress."""

    id: str
    webhook_id: str
    state: str
    since: str
    until: str
    states: list[str]
    types: list[str]
    #: How many events were examined, and how many of them were queued.
    seen: int
    queued: int
    progress: float
    created_at: str
    updated_at: str


def _replay_view(record: dict[str, Any]) -> Replay:
    return Replay(
        id=public("rpl", record["id"]),
        webhook_id=public("whk", record["endpoint_id"]),
        state=record["state"],
        since=iso(record["since"]),
        until=iso(record["until"]),
        states=_strings.decode(record["states"]),
        types=_strings.decode(record["types"]),
        seen=record["seen"],
        queued=record["queued"],
        progress=deliveries.progress(record),
        created_at=iso(record["created_at"]),
        updated_at=iso(record["updated_at"]),
    )


def _states(given: States | list[States]) -> tuple[str, ...]:
    states = {state for one in ([given] if isinstance(given, str) else given) for state in _MEANING.get(one, (one,))}
    if not states:
        raise Invalid("`state` is an empty list. Give at least one state, or omit the field.", code="invalid_state")
    return tuple(state for state in deliveries.EVERYTHING if state in states)


@post("/v1/webhooks/{id:str}/replay", status_code=202, summary="Start a replay", opt={"body": StartReplay})
async def start_replay(call: NamedDependency[Call], id: FromPath[str]) -> Response[Replay]:
    """Queues the selected events in steps, behind fresh deliveries. A replay continues after a restart.

    A replay of a disabled endpoint waits until the endpoint is enabled.
    """
    body = await call.body(StartReplay)
    engine = call.engine
    states = _states(body.state)
    types = check_patterns(body.types) if body.types else ()
    since = None if body.since is None else max(parse_time(body.since), 0)
    until = call.now if body.until is None else min(parse_time(body.until), call.now)

    async def work(tx: Tx) -> Replay:
        webhook = await endpoints.find_webhook(tx, engine.encryption, call.workspace_id, webhook_id(id))
        first = since if since is not None else await deliveries.missing_since(tx, webhook)
        if first is None:
            detail = "This endpoint has no undelivered events. Give `since` to replay others."
            raise Invalid(detail, code="missing_since")
        if first >= until:
            raise Invalid("`since` must be before `until` and before now.", code="invalid_period")
        period = deliveries.ReplayRange(first, until, states, types)
        replay_id = await deliveries.start_replay(tx, engine.ids, webhook, period, call.now)
        return _replay_view(await deliveries.find_replay(tx, call.workspace_id, replay_id))

    return await call.perform(202, work)


@get("/v1/webhooks/{id:str}/replays", summary="List the replays of a webhook endpoint")
async def list_webhook_replays(
    call: NamedDependency[Call], id: FromPath[str], limit: Limit = 50, after: After = None
) -> Page[Replay]:
    """Returns replays, newest first."""

    async def work(tx: Tx) -> list[dict[str, Any]]:
        webhook = await endpoints.find_webhook(tx, call.engine.encryption, call.workspace_id, webhook_id(id))
        return await tx.records("replays.list", endpoint_id=webhook.id, before=before("replays", after), n=limit + 1)

    return page("replays", await call.read(work), limit, _replay_view, lambda record: int(record["id"]))


@get("/v1/replays/{id:str}", summary="Get a replay")
async def get_replay(call: NamedDependency[Call], id: FromPath[str]) -> Replay:
    """Returns a replay with its progress."""
    return _replay_view(await call.read(deliveries.find_replay, call.workspace_id, internal("rpl", id)))


@post("/v1/replays/{id:str}/cancel", status_code=200, summary="Cancel a replay")
async def cancel_replay(call: NamedDependency[Call], id: FromPath[str]) -> Response[Replay]:
    """Stops a replay. Deliveries that it has queued are still sent."""

    async def work(tx: Tx) -> Replay:
        return _replay_view(await deliveries.cancel_replay(tx, call.workspace_id, internal("rpl", id), call.now))

    return await call.perform(200, work)


ROUTES = permit("webhooks", [start_replay, list_webhook_replays, get_replay, cancel_replay])
