"""Workspaces: make, see, change and delete them; the audit log."""

import enum
from typing import Annotated, Any

import msgspec
from litestar import Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Meta

from waypost.api.control.accounts.sessions import require_session
from waypost.api.control.calls import LOGGED, NAMES, OWN, Call, permit
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import id_time, iso
from waypost.domain.accounts import sign_in
from waypost.domain.accounts.second_factor import FactorState
from waypost.domain.values.ids import internal, public
from waypost.engine.accounts import audit, workspaces
from waypost.engine.accounts.sessions import require_passkey
from waypost.errors import Conflict
from waypost.storage.database import Tx


class MfaRule(enum.StrEnum):
    """Who needs a second factor."""

    OPTIONAL = "optional"
    CHANGES = "changes"  #: Who changes connections and webhooks.
    REQUIRED = "required"  #: Everybody.


class MakeWorkspace(msgspec.Struct, forbid_unknown_fields=True):
    """The name of a new workspace."""

    name: Annotated[str, Meta(max_length=sign_in.LONGEST_NAME)]


class ChangeWorkspace(msgspec.Struct, forbid_unknown_fields=True):
    """What may be changed; omitted fields stay."""

    name: Annotated[str, Meta(max_length=sign_in.LONGEST_NAME)] | None = None
    mfa: MfaRule | None = None


class Workspace(msgspec.Struct, kw_only=True):
    """A workspace."""

    id: str
    name: str
    mfa: MfaRule
    created_at: str


class WorkspaceCreated(msgspec.Struct, kw_only=True):
    """A new workspace, with an API key and a write key that are shown only once."""

    id: str
    name: str
    api_key: str
    write_key: str


class Actor(msgspec.Struct, kw_only=True):
    """Who changed something: `user`, `key` or `command`."""

    kind: str
    id: str | None
    name: str


class Change(msgspec.Struct, kw_only=True):
    """A change: what differs before and after it, with secrets masked."""

    id: str
    at: str
    actor: Actor
    action: str
    resource: str
    before: Any
    after: Any
    ip: str | None


ActorFilter = Annotated[
    str | None, QueryParameter(name="actor", description="Return only changes by this user or key.")
]
ActionFilter = Annotated[
    str | None,
    QueryParameter(name="action", max_length=100, description="Return only this operation, such as create_key."),
]
TextFilter = Annotated[
    str | None, QueryParameter(name="q", max_length=200, description="Return only changes with this text anywhere.")
]


@get("/v1/workspace", summary="Get the workspace")
async def get_workspace(call: NamedDependency[Call]) -> Workspace:
    """Returns the workspace and its settings."""
    return _view(call, await call.read(workspaces.read_workspace, call.workspace_id))


@patch("/v1/workspace", summary="Change the workspace", opt={"body": ChangeWorkspace})
async def update_workspace(call: NamedDependency[Call]) -> Response[Workspace]:
    """Changes the name of the workspace, or who needs a second factor in it."""
    body = await call.body(ChangeWorkspace)
    name = None if body.name is None else sign_in.check_name(body.name)
    mfa = None if body.mfa is None else body.mfa.value
    if mfa is not None:
        # Who may only change settings must not switch off what guards the rest.
        call.admitted.require("users.write", call.now)
    session = call.admitted.session
    if mfa not in (None, "optional") and session is not None:
        require_passkey(session)
    if mfa not in (None, "optional") and session is not None and session.factor is FactorState.MISSING:
        raise Conflict("Set up your own second factor first: this would lock you out.", code="no_totp", field="mfa")

    async def work(tx: Tx) -> Workspace:
        return _view(call, await workspaces.change_workspace(tx, call.workspace_id, name, mfa))

    response = await call.perform(200, work)
    call.forget_callers()
    return response


@post("/v1/workspaces", summary="Create a workspace", opt=OWN | LOGGED | {"body": MakeWorkspace})
async def make_workspace(call: NamedDependency[Call]) -> WorkspaceCreated:
    """Creates a workspace that you own, with its first keys."""
    body = await call.body(MakeWorkspace)
    name, user_id = sign_in.check_name(body.name), require_session(call).user_id
    made = await call.transact(workspaces.add_workspace, call.engine.ids, name, user_id, call.now)
    call.forget_callers()
    return WorkspaceCreated(id=made["workspace"], name=name, api_key=made["api_key"], write_key=made["write_key"])


@get("/v1/audit", summary="List who changed what", opt=NAMES | {"permission": "audit.read"})
async def list_audit(
    call: NamedDependency[Call],
    limit: Limit = 50,
    after: After = None,
    actor: ActorFilter = None,
    action: ActionFilter = None,
    q: TextFilter = None,
) -> Page[Change]:
    """Returns the audit log, newest first. Nothing changes or deletes its entries."""
    actor_id = 0 if actor is None else internal("key" if actor.startswith("key_") else "usr", actor)
    rows = await call.read(
        audit.list_changes,
        call.workspace_id,
        before("audit", after),
        limit + 1,
        actor_id=actor_id,
        action=action or "",
        q=q or "",
    )
    return page("audit", rows, limit, _change, lambda row: int(row["id"]))


def _view(call: Call, record: dict[str, Any]) -> Workspace:
    return Workspace(
        id=public("ws", call.workspace_id),
        name=record["name"],
        mfa=MfaRule(record["mfa"]),
        created_at=iso(record["created_at"]),
    )


def _change(row: dict[str, Any]) -> Change:
    prefix = {"user": "usr", "key": "key"}.get(row["actor_kind"])
    return Change(
        id=public("aud", row["id"]),
        at=iso(id_time(row["id"])),
        actor=Actor(
            kind=row["actor_kind"],
            id=public(prefix, row["actor_id"]) if prefix else None,
            name=row["actor_name"],
        ),
        action=row["action"],
        resource=row["resource"],
        before=_json(row["before"]),
        after=_json(row["after"]),
        ip=row["ip"] or None,
    )


def _json(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


ROUTES = permit("settings", [get_workspace, update_workspace, make_workspace, list_audit])
