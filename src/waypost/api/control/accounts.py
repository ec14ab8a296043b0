"""API keys: create, list, delete."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from waypost.api.control.calls import Call
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import iso
from waypost.domain.accounts.api_keys import Scope, check_scopes
from waypost.domain.values.ids import internal, public
from waypost.engine.accounts import workspaces
from waypost.errors import Invalid
from waypost.storage.database import Tx


class CreateApiKey(msgspec.Struct, forbid_unknown_fields=True):
    """The parameters of a new API key."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    scopes: Annotated[
        list[Scope],
        Meta(description="What the key is allowed to do; `manage` includes all other scopes.", min_length=1),
    ]


class ApiKey(msgspec.Struct, kw_only=True):
    """An API key, without the key itself."""

    id: str
    name: str
    scopes: list[Scope]
    hint: str
    created_at: str


class ApiKeyCreated(ApiKey, kw_only=True):
    """A new API key. `key` is the key itself and is shown only once."""

    key: str


def _fields(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": public("key", record["id"]),
        "name": record["name"],
        "scopes": [Scope(scope) for scope in record["scopes"]],
        "hint": record["hint"],
        "created_at": iso(record["created_at"]),
    }


@post("/v1/keys", summary="Create an API key", opt={"body": CreateApiKey})
async def create_key(call: NamedDependency[Call]) -> Response[ApiKeyCreated]:
    """Creates an API key and returns it. The key itself is shown only in this response."""
    body = await call.body(CreateApiKey)
    if "\0" in body.name:
        raise Invalid("The name cannot contain the character U+0000. Remove it.", code="invalid_name")
    scopes = check_scopes([scope.value for scope in body.scopes])

    async def work(tx: Tx) -> ApiKeyCreated:
        record = await workspaces.create_key(tx, call.engine.ids, call.workspace_id, body.name, scopes, call.now)
        return ApiKeyCreated(key=record["key"], **_fields(record))

    return await call.perform(201, work)


@get("/v1/keys", summary="List API keys")
async def list_keys(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[ApiKey]:
    """Returns the API keys of the workspace, newest first, without the keys themselves."""
    records = await call.read(workspaces.list_keys, call.workspace_id, before("keys", after), limit + 1)
    return page("keys", records, limit, lambda record: ApiKey(**_fields(record)), lambda record: int(record["id"]))


@delete("/v1/keys/{id:str}", summary="Delete an API key")
async def delete_key(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Deletes an API key. This process refuses it immediately, other processes within five seconds.

    The last key with the scope `manage` cannot be deleted.
    """
    await call.engine.database.transact(workspaces.delete_key, call.workspace_id, internal("key", id))
    call.forget_keys()


ROUTES = [create_key, list_keys, delete_key]
