"""API keys: create, list, rotate, delete."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from waypost.api.control.calls import Call, permit
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import HOUR, SECOND, iso, iso_or_none
from waypost.domain.accounts.permissions import check_scopes, scope_permissions
from waypost.domain.values.ids import internal, public
from waypost.engine.accounts import workspaces
from waypost.errors import Forbidden, Invalid
from waypost.storage.database import Tx

LONGEST_OVERLAP_H = 720


class CreateApiKey(msgspec.Struct, forbid_unknown_fields=True):
    """The parameters of a new API key."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    scopes: Annotated[
        list[str],
        Meta(
            description="What the key is allowed to do: `ingest`, `read` and `manage` (which includes all others), or "
            "single permissions such as `people.read`, which GET /v1/roles lists.",
            min_length=1,
        ),
    ]
    expires_at: Annotated[datetime, Meta(tz=True, description="When the key ends; null for never.")] | None = None


class RotateApiKey(msgspec.Struct, forbid_unknown_fields=True):
    """How a key is replaced."""

    overlap_hours: Annotated[
        float, Meta(ge=0, le=LONGEST_OVERLAP_H, description="For how long the old key is still accepted.")
    ] = 24


class ApiKey(msgspec.Struct, kw_only=True):
    """An API key, without the key itself."""

    id: str
    name: str
    scopes: list[str]
    hint: str
    created_at: str
    expires_at: str | None
    #: To within five minutes.
    last_used_at: str | None
    last_used_ip: str | None


class ApiKeyCreated(ApiKey, kw_only=True):
    """A new API key. `key` is the key itself and is shown only once."""

    key: str


def _fields(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": public("key", record["id"]),
        "name": record["name"],
        "scopes": record["scopes"],
        "hint": record["hint"],
        "created_at": iso(record["created_at"]),
        "expires_at": iso_or_none(record["expires_at"]),
        "last_used_at": iso_or_none(record["last_used_at"]),
        "last_used_ip": record["last_used_ip"] or None,
    }


@post("/v1/keys", summary="Create an API key", opt={"body": CreateApiKey})
async def create_key(call: NamedDependency[Call]) -> Response[ApiKeyCreated]:
    """Creates an API key and returns it. The key itself is shown only in this response."""
    body = await call.body(CreateApiKey)
    if "\0" in body.name:
        raise Invalid("The name cannot contain the character U+0000. Remove it.", code="invalid_name")
    scopes = check_scopes(body.scopes)
    _require_grantable(call, scopes)
    expires_at = None if body.expires_at is None else int(body.expires_at.timestamp() * SECOND)
    if expires_at is not None and expires_at <= call.now:
        raise Invalid("`expires_at` has passed. Give a time in the future.", code="invalid_expiry", field="expires_at")

    async def work(tx: Tx) -> ApiKeyCreated:
        record = await workspaces.create_key(
            tx, call.engine.ids, call.workspace_id, body.name, scopes, call.now, expires_at
        )
        return ApiKeyCreated(key=record["key"], **_fields(record))

    return await call.perform(201, work)


@get("/v1/keys", summary="List API keys")
async def list_keys(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[ApiKey]:
    """Returns the API keys of the workspace, newest first, without the keys themselves."""
    records = await call.read(workspaces.list_keys, call.workspace_id, before("keys", after), limit + 1)
    return page("keys", records, limit, lambda record: ApiKey(**_fields(record)), lambda record: int(record["id"]))


@post("/v1/keys/{id:str}/rotate", summary="Replace an API key", opt={"body": RotateApiKey})
async def rotate_key(call: NamedDependency[Call], id: FromPath[str]) -> Response[ApiKeyCreated]:
    """Creates a key with the same name and scopes. The old one is accepted until the overlap ends."""
    body = await call.body(RotateApiKey)
    key_id = internal("key", id)
    known = await call.read(workspaces.get_key, call.workspace_id, key_id)
    _require_grantable(call, known["scopes"])

    async def work(tx: Tx) -> ApiKeyCreated:
        overlap = int(body.overlap_hours * HOUR)
        record = await workspaces.rotate_key(tx, call.engine.ids, call.workspace_id, key_id, overlap, call.now)
        return ApiKeyCreated(key=record["key"], **_fields(record))

    response = await call.perform(201, work)
    call.forget_callers()
    return response


@delete("/v1/keys/{id:str}", summary="Delete an API key")
async def delete_key(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Deletes an API key. This process refuses it immediately, other processes within five seconds.

    The last key with the scope `manage` of a workspace without an owner cannot be deleted.
    """
    await call.transact(workspaces.delete_key, call.workspace_id, internal("key", id))
    call.forget_callers()


def _require_grantable(call: Call, scopes: list[str]) -> None:
    """Raise Forbidden if the key could do more than its maker."""
    more = scope_permissions(scopes) - call.caller.permissions
    if more:
        raise Forbidden(
            f"You cannot make a key that may do more than you: {', '.join(sorted(more))}.", code="scope_too_high"
        )


ROUTES = permit("keys", [create_key, list_keys, rotate_key, delete_key])
