"""Subscriptions of addresses and profiles: get, set, set many, and their history."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from waypost.api.control.audience.profiles import find_profile
from waypost.api.control.audience.suppressions import (
    Address,
    AddressQuery,
    Channel,
    ChannelQuery,
    check_text,
    read_address,
)
from waypost.api.control.calls import NAMES, Call, permit, read_json
from waypost.api.control.messages import BATCH_BYTES
from waypost.api.paging import NEWEST, After, Limit, Page, cursor, position
from waypost.clock import CLOCKS_DIFFER, iso
from waypost.domain.audience.subscriptions import Subscription as Statement
from waypost.domain.audience.subscriptions import SubscriptionChange, SubscriptionState
from waypost.domain.values.ids import internal
from waypost.domain.values.times import parse_time
from waypost.engine.audience.subscriptions import ChangeResult, load_subscriptions, set_subscriptions
from waypost.engine.runtime.unit import Unit
from waypost.errors import Conflict, Error, Invalid, NotFound
from waypost.storage.database import Row, Tx

#: The most subscriptions of one batch.
MOST = 10_000
#: Subscriptions of a batch that are read before other requests get their turn.
TURN = 100
#: The largest proof as JSON, in bytes.
PROOF_BYTES = 4096
#: The channels of which a profile has addresses, and the kind of identifier that they are.
KINDS = {"sms": "phone", "email": "email"}

#: Sorted, so that the same proof is the same text.
_encode = msgspec.json.Encoder(order="sorted").encode
_proof = msgspec.json.Decoder(dict[str, Any])

Word = Annotated[str, Meta(min_length=1, max_length=64)]
Proof = Annotated[
    dict[Word, Annotated[str, Meta(max_length=1000)] | int | float | bool | None],
    Meta(max_length=20, description="What proves it, such as `ip`, `form`, `keyword` and `user_agent`."),
]
Source = Annotated[
    str, Meta(min_length=1, max_length=64, description="How it is known, such as `web_form`, `import` or `hotline`.")
]
ChangedAt = Annotated[
    str,
    Meta(
        description="When the person said so (ISO 8601), at most a minute ahead; by default now.",
        extra_json_schema={"format": "date-time"},
    ),
]


# Ten thousand at once must not start a garbage collection; none refers to itself.
class SetSubscription(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """What the owner of an address said."""

    channel: Channel
    address: Address
    state: SubscriptionState
    source: Source = "api"
    proof: Proof = {}
    changed_at: ChangedAt | None = None


class SetProfileSubscription(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a person said about a channel."""

    state: SubscriptionState
    source: Source = "api"
    proof: Proof = {}
    changed_at: ChangedAt | None = None
    address: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=320,
                description="Required if the profile has several addresses of the channel.",
            ),
        ]
        | None
    ) = None


class SubscriptionBatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Many subscriptions; each is accepted or rejected on its own."""

    subscriptions: Annotated[list[SetSubscription], Meta(min_length=1, max_length=MOST)]


class _RawSubscriptionBatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A SubscriptionBatch whose items are not decoded yet, so that each can be rejected on its own."""

    subscriptions: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MOST)]


class Subscription(msgspec.Struct, kw_only=True):
    """What the owner of an address last said about a channel."""

    channel: str
    address: str
    state: SubscriptionState
    source: str
    changed_at: str
    proof: dict[str, Any]


class SubscriptionSet(Subscription, kw_only=True):
    """The subscription of an address after a request to set it."""

    #: False if a later statement was known, which still counts; the request is in the history.
    effective: bool


class ProfileSubscription(msgspec.Struct, kw_only=True):
    """The subscription of an address of a profile; all but the address is null if nothing is known of it."""

    channel: str
    address: str
    state: SubscriptionState | None
    source: str | None
    changed_at: str | None
    proof: dict[str, Any] | None


class SubscriptionHistoryEntry(Subscription, kw_only=True):
    """A statement of the owner of an address."""

    #: False if a later statement was known when this one was recorded.
    effective: bool
    #: The `message_id` of the event, or the id of the message, that it follows from; null for a request.
    cause: str | None
    recorded_at: str


class SubscriptionRejection(msgspec.Struct, omit_defaults=True):
    """Why a subscription of a batch was rejected."""

    code: str
    detail: str
    field: str | None = None


class SubscriptionBatchLine(msgspec.Struct, omit_defaults=True):
    """The result for one subscription of a batch: its state and whether the request is what counts, or the error."""

    state: SubscriptionState | None = None
    effective: bool | None = None
    error: SubscriptionRejection | None = None


class SubscriptionBatchResult(msgspec.Struct, kw_only=True):
    """The result for each subscription of a batch, in the order of the request."""

    data: list[SubscriptionBatchLine]
    accepted: int
    rejected: int


class SetConsent(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The consent to set for an address."""

    channel: Channel
    address: Address
    state: Annotated[str, Meta(pattern="^(opted_in|opted_out)$")]
    source: Annotated[str, Meta(max_length=64)] = "api"


class Consent(msgspec.Struct, kw_only=True):
    """A subscription in the words of earlier versions."""

    channel: str
    address: str
    state: str
    source: str
    changed_at: str


@get("/v1/subscriptions", summary="Get the subscription of an address", opt=NAMES)
async def get_subscription(call: NamedDependency[Call], channel: ChannelQuery, address: AddressQuery) -> Subscription:
    """Returns what the owner of an address last said."""
    return _view(await _find(call, channel, address))


@put("/v1/subscriptions", summary="Set the subscription of an address", opt={"body": SetSubscription})
async def set_subscription(call: NamedDependency[Call]) -> Response[SubscriptionSet]:
    """Records what the owner of an address said, and returns the subscription. The latest statement counts."""
    change = _read(call, await call.body(SetSubscription))
    return await call.record(200, lambda tx, unit: _set(tx, unit, change))


@get("/v1/subscriptions/history", summary="List the history of a subscription")
async def list_subscription_history(
    call: NamedDependency[Call], channel: ChannelQuery, address: AddressQuery, limit: Limit = 50, after: After = None
) -> Page[SubscriptionHistoryEntry]:
    """Returns every statement about an address, the latest first."""
    changed_at, key = position("subscription_history", after, NEWEST, NEWEST)
    place = {"workspace_id": call.workspace_id, "channel": channel, "address": read_address(channel, address)}

    async def work(tx: Tx) -> list[Row]:
        return await tx.rows("subscription_history.list", **place, changed_at=changed_at, change_key=key, n=limit + 1)

    rows = await call.read(work)
    last = rows[limit - 1] if len(rows) > limit else None
    following = cursor("subscription_history", last[4], last[-1]) if last else None
    return Page([_history_view(row) for row in rows[:limit]], following)


@post(
    "/v1/subscriptions/batch",
    summary="Set many subscriptions",
    status_code=200,
    request_max_body_size=BATCH_BYTES,
    opt={"body": SubscriptionBatch},
)
async def set_subscription_batch(call: NamedDependency[Call]) -> Response[SubscriptionBatchResult]:
    """Records up to 10,000 statements in one transaction; `data` has one result for each, in order."""
    changes: list[SubscriptionChange | SubscriptionRejection] = []
    for number, item in enumerate(await _read_batch(call)):
        if number % TURN == TURN - 1:
            await asyncio.sleep(0)
        try:
            given = item if isinstance(item, SetSubscription) else read_json(bytes(item), SetSubscription)
            changes.append(_read(call, given))
        except Error as error:
            changes.append(SubscriptionRejection(error.code, error.detail, error.extra.get("field") or None))
    valid = [change for change in changes if isinstance(change, SubscriptionChange)]
    if not valid:
        rejected = [SubscriptionBatchLine(error=one) for one in changes if isinstance(one, SubscriptionRejection)]
        raise Invalid(
            "No subscription of this batch is valid; `rejected` says why.",
            code="invalid_subscriptions",
            rejected=rejected,
        )

    async def work(tx: Tx, unit: Unit) -> SubscriptionBatchResult:
        results = iter(await set_subscriptions(tx, valid, unit))
        lines = [
            SubscriptionBatchLine(error=one) if isinstance(one, SubscriptionRejection) else _line(next(results))
            for one in changes
        ]
        return SubscriptionBatchResult(data=lines, accepted=len(valid), rejected=len(changes) - len(valid))

    return await call.record(200, work)


@get("/v1/profiles/{id:str}/subscriptions/{channel:str}", summary="List the subscriptions of a profile")
async def list_profile_subscriptions(
    call: NamedDependency[Call], id: FromPath[str], channel: FromPath[str]
) -> Page[ProfileSubscription]:
    """Returns the addresses of a profile for `sms` or `email`, the last used first, with their subscriptions."""

    async def work(tx: Tx) -> Page[ProfileSubscription]:
        keys = [
            (call.workspace_id, channel, address)
            for address in await _addresses(tx, call.workspace_id, internal("pro", id), channel)
        ]
        known = await load_subscriptions(tx, keys)
        return Page([_profile_view(channel, key[2], known.get(key)) for key in keys])

    return await call.read(work)


@put(
    "/v1/profiles/{id:str}/subscriptions/{channel:str}",
    summary="Set a subscription of a profile",
    opt={"body": SetProfileSubscription},
)
async def set_profile_subscription(
    call: NamedDependency[Call], id: FromPath[str], channel: FromPath[str]
) -> Response[SubscriptionSet]:
    """Records what a person said about a channel (`sms` or `email`), for the address that the profile has."""
    given = await call.body(SetProfileSubscription)

    async def work(tx: Tx, unit: Unit) -> SubscriptionSet:
        addresses = await _addresses(tx, call.workspace_id, internal("pro", id), channel)
        address = _choose(channel, addresses, given.address)
        values = {name: value for name, value in msgspec.structs.asdict(given).items() if name != "address"}
        return await _set(tx, unit, _read(call, SetSubscription(channel=channel, address=address, **values)))

    return await call.record(200, work)


@get("/v1/consents", summary="Get the consent of an address", opt=NAMES)
async def get_consent(call: NamedDependency[Call], channel: ChannelQuery, address: AddressQuery) -> Consent:
    """Returns the subscription of an address in the words of earlier versions."""
    return _consent_view(_view(await _find(call, channel, address)))


@put("/v1/consents", summary="Set the consent of an address", opt={"body": SetConsent})
async def set_consent(call: NamedDependency[Call]) -> Response[Consent]:
    """Sets the subscription of an address in the words of earlier versions, as of now."""
    given = await call.body(SetConsent)
    state = SubscriptionState.SUBSCRIBED if given.state == "opted_in" else SubscriptionState.UNSUBSCRIBED
    change = _read(
        call, SetSubscription(channel=given.channel, address=given.address, state=state, source=given.source)
    )

    async def work(tx: Tx, unit: Unit) -> Consent:
        found = await _set(tx, unit, change)
        if not found.effective:
            raise Conflict(
                f"{change.address} opted out after this request was made. To opt it in all the same, send the request"
                " again after a minute.",
                code="opted_out_later",
            )
        return _consent_view(found)

    return await call.record(200, work)


async def _find(call: Call, channel: str, address: str) -> Row:
    key = {"workspace_id": call.workspace_id, "channel": channel, "address": read_address(channel, address)}

    async def work(tx: Tx) -> Row | None:
        return await tx.row("subscriptions.get", **key)

    found = await call.read(work)
    if found is None:
        raise NotFound("No subscription of this address is known. PUT /v1/subscriptions sets one.")
    return found


async def _read_batch(call: Call) -> Sequence[SetSubscription | msgspec.Raw]:
    """Return the items of a batch; undecoded if some of them are not valid."""
    try:
        return (await call.body(SubscriptionBatch)).subscriptions
    except Invalid as error:
        if error.code != "invalid_body":
            raise
    # A number that is too large rejects its item only.
    return (await call.body(_RawSubscriptionBatch, unchecked=frozenset({"subscriptions"}))).subscriptions


def _read(call: Call, given: SetSubscription) -> SubscriptionChange:
    """Return the change that a request asks for; raise Invalid with the field that is wrong."""
    for name, value in given.proof.items():
        check_text(name, "proof")
        if isinstance(value, str):
            check_text(value, "proof")
    proof = _encode(given.proof).decode()
    if len(proof.encode()) > PROOF_BYTES:
        raise Invalid(
            f"`proof` may have at most {PROOF_BYTES} bytes as JSON. Keep a reference to what is larger.",
            code="invalid_proof",
            field="proof",
        )
    return SubscriptionChange(
        call.workspace_id,
        given.channel,
        read_address(given.channel, given.address),
        given.state,
        check_text(given.source, "source"),
        None if given.changed_at is None else _read_time(given.changed_at, call.now),
        proof,
    )


def _read_time(text: str, now: int) -> int:
    try:
        at = parse_time(text)
    except Invalid as error:
        raise Invalid(error.detail, code=error.code, field="changed_at") from error
    if not 0 <= at <= now + CLOCKS_DIFFER:
        raise Invalid(
            f"`changed_at` is {iso(at)}; it must be between 1970 and now. Leave it out for a statement made now.",
            code="invalid_time",
            field="changed_at",
        )
    # A client's clock that is ahead must not keep out what the person says in the next minute.
    return min(at, now)


async def _addresses(tx: Tx, workspace_id: int, profile_id: int, channel: str) -> list[str]:
    """Return the addresses of a profile for a channel, the one used last first."""
    kind = KINDS.get(channel)
    if kind is None:
        raise NotFound(f"Profiles have no subscriptions of the channel {channel[:40]!r}. Use sms or email.")
    profile = await find_profile(tx, workspace_id, profile_id)
    return [value for _, found, value in await tx.rows("identities.of_many", ids=[profile["id"]]) if found == kind]


def _choose(channel: str, addresses: list[str], given: str | None) -> str:
    """Return the address of a profile that a request is about."""
    what = KINDS[channel]
    if not addresses:
        raise Conflict(
            f"The profile has no {what}. Set one with an identify call, or use PUT /v1/subscriptions with an address.",
            code="no_address",
        )
    if given is None and len(addresses) > 1:
        raise Invalid(
            f"The profile has {len(addresses)} addresses for {channel}. Name one of them in `address`.",
            code="several_addresses",
            field="address",
        )
    if given is None:
        return addresses[0]
    address = read_address(channel, given)
    if address not in addresses:
        raise Invalid(
            f"{address} is not a {what} of this profile. Leave `address` out, or use PUT /v1/subscriptions.",
            code="unknown_address",
            field="address",
        )
    return address


async def _set(tx: Tx, unit: Unit, change: SubscriptionChange) -> SubscriptionSet:
    result = (await set_subscriptions(tx, [change], unit))[0]
    statement = result.subscription
    row = (change.channel, change.address, statement.state, statement.source, statement.changed_at, statement.proof)
    return SubscriptionSet(**_fields(row), effective=result.effective)


def _profile_view(channel: str, address: str, statement: Statement | None) -> ProfileSubscription:
    if statement is None:
        return ProfileSubscription(
            channel=channel, address=address, state=None, source=None, changed_at=None, proof=None
        )
    return ProfileSubscription(
        **_fields((channel, address, statement.state, statement.source, statement.changed_at, statement.proof))
    )


def _line(result: ChangeResult) -> SubscriptionBatchLine:
    return SubscriptionBatchLine(state=result.subscription.state, effective=result.effective)


def _view(row: Row) -> Subscription:
    return Subscription(**_fields(row))


def _history_view(row: Row) -> SubscriptionHistoryEntry:
    effective, cause, recorded_at = row[6:9]
    return SubscriptionHistoryEntry(
        **_fields(row), effective=bool(effective), cause=cause, recorded_at=iso(recorded_at)
    )


def _fields(row: Row) -> dict[str, Any]:
    channel, address, state, source, changed_at, proof = row[:6]
    return {
        "channel": channel,
        "address": address,
        "state": SubscriptionState(state),
        "source": source,
        "changed_at": iso(changed_at),
        "proof": _proof.decode(proof),
    }


def _consent_view(found: Subscription) -> Consent:
    return Consent(
        channel=found.channel,
        address=found.address,
        state="opted_in" if found.state is SubscriptionState.SUBSCRIBED else "opted_out",
        source=found.source,
        changed_at=found.changed_at,
    )


ROUTES = permit(
    "people",
    [
        get_subscription,
        set_subscription,
        list_subscription_history,
        set_subscription_batch,
        list_profile_subscriptions,
        set_profile_subscription,
        get_consent,
        set_consent,
    ],
)
