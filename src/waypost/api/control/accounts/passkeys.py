"""A user's own passkeys, and the challenges that browsers answer with one."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from waypost.api.control.accounts.passkey_json import (
    PasskeyAlgorithm,
    PasskeyCreationOptions,
    PasskeyCredential,
    PasskeyDescriptor,
    PasskeyOwner,
    PasskeyParty,
    PasskeyRequestOptions,
    PasskeyWishes,
)
from waypost.api.control.accounts.sessions import require_proof
from waypost.api.control.admission import check_origin, read_headers
from waypost.api.control.calls import KEYLESS, LOGGED, OWN, PUBLIC, Call
from waypost.api.paging import NEWEST, After, Limit, Page, before, page
from waypost.clock import iso, iso_or_none
from waypost.domain.accounts import passkeys as rules
from waypost.domain.accounts import sign_in
from waypost.domain.accounts.passkeys import ADD, ALGORITHMS, USE, to_base64url, user_handle
from waypost.domain.accounts.second_factor import ISSUER
from waypost.domain.values.ids import internal, public
from waypost.engine.accounts import passkeys
from waypost.engine.accounts.sessions import confirm_session
from waypost.engine.process import Engine
from waypost.storage.database import Tx


class AddPasskey(msgspec.Struct, forbid_unknown_fields=True):
    """A new passkey, as the browser made it, and a name by which the user knows it."""

    credential: PasskeyCredential
    name: Annotated[str, Meta(max_length=sign_in.LONGEST_NAME)]


class ChangePasskey(msgspec.Struct, forbid_unknown_fields=True):
    """The new name of a passkey."""

    name: Annotated[str, Meta(max_length=sign_in.LONGEST_NAME)]


class Passkey(msgspec.Struct, kw_only=True):
    """A passkey of the user."""

    id: str
    name: str
    created_at: str
    last_used_at: str | None


@post(
    "/v1/passkey-challenges",
    status_code=200,
    summary="Begin to use a passkey",
    opt=PUBLIC | {"keyless": True, "statuses": {"403"}},
)
async def make_passkey_challenge(request: Request[Any, Any, Any]) -> PasskeyRequestOptions:
    """Returns what `navigator.credentials.get()` takes, to sign in or to confirm with a passkey within five minutes."""
    check_origin("POST", read_headers(request.scope["headers"]))
    engine: Engine = request.app.state.engine
    party = engine.passkeys.require_party()
    return PasskeyRequestOptions(challenge=engine.passkeys.make_challenge(USE), rp_id=party.id)


@post("/v1/users/me/passkeys/challenge", status_code=200, summary="Begin to add a passkey", opt=OWN | KEYLESS)
async def offer_passkey(call: NamedDependency[Call]) -> PasskeyCreationOptions:
    """Returns what `navigator.credentials.create()` takes. Confirm first that it is you."""
    session, registry = require_proof(call), call.engine.passkeys
    party = registry.require_party()
    known = await call.read(passkeys.list_passkeys, session.user_id, NEWEST, rules.MOST_PASSKEYS)
    return PasskeyCreationOptions(
        challenge=registry.make_challenge(ADD, session.user_id),
        rp=PasskeyParty(id=party.id, name=ISSUER),
        user=PasskeyOwner(
            id=to_base64url(user_handle(session.user_id)),
            name=session.email,
            display_name=session.name or session.email,
        ),
        algorithms=[PasskeyAlgorithm(alg=int(one)) for one in ALGORITHMS],
        exclude=[PasskeyDescriptor(id=row["credential_id"]) for row in known],
        wishes=PasskeyWishes(),
    )


@post("/v1/users/me/passkeys", status_code=201, summary="Add a passkey", opt=OWN | LOGGED | {"body": AddPasskey})
async def add_passkey(call: NamedDependency[Call]) -> Passkey:
    """Adds a passkey that the browser has made for a challenge. From now on it signs you in without a password."""
    body, session = await call.body(AddPasskey), require_proof(call)
    name = sign_in.check_name(body.name)
    verified = call.engine.passkeys.verify_new(session.user_id, body.credential.read())

    async def work(tx: Tx) -> dict[str, Any]:
        row = await passkeys.store_passkey(tx, call.engine.ids, session.user_id, name, verified, call.now)
        # Whoever has made a passkey has proved a second factor.
        await confirm_session(tx, session.id, mfa=True, now=call.now)
        return row

    row = await call.transact(work)
    call.forget_callers()
    return _view(row)


@get("/v1/users/me/passkeys", summary="List your passkeys", opt=OWN)
async def list_passkeys(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[Passkey]:
    """Returns your passkeys, newest first."""
    rows = await call.read(passkeys.list_passkeys, call.caller.user_id, before("passkeys", after), limit + 1)
    return page("passkeys", rows, limit, _view, lambda row: int(row["id"]))


@get("/v1/users/me/passkeys/{id:str}", summary="Get one of your passkeys", opt=OWN)
async def get_passkey(call: NamedDependency[Call], id: FromPath[str]) -> Passkey:
    """Returns one of your passkeys."""
    return _view(await call.read(passkeys.get_passkey, call.caller.user_id, internal("psk", id)))


@patch("/v1/users/me/passkeys/{id:str}", summary="Rename a passkey", opt=OWN | {"body": ChangePasskey})
async def update_passkey(call: NamedDependency[Call], id: FromPath[str]) -> Response[Passkey]:
    """Changes the name of a passkey."""
    body, passkey_id = await call.body(ChangePasskey), internal("psk", id)
    name = sign_in.check_name(body.name)

    async def work(tx: Tx) -> Passkey:
        return _view(await passkeys.rename_passkey(tx, call.caller.user_id, passkey_id, name))

    return await call.perform(200, work)


@delete("/v1/users/me/passkeys/{id:str}", summary="Delete a passkey", opt=OWN)
async def delete_passkey(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Deletes a passkey: it signs nobody in any more. Confirm first that it is you."""
    session, passkey_id = require_proof(call), internal("psk", id)
    needed = any(one.mfa == "required" for one in session.workspaces)
    await call.transact(passkeys.delete_passkey, session.user_id, passkey_id, needed=needed)
    call.forget_callers()


def _view(row: dict[str, Any]) -> Passkey:
    return Passkey(
        id=public("psk", row["id"]),
        name=row["name"],
        created_at=iso(row["created_at"]),
        last_used_at=iso_or_none(row["last_used_at"]),
    )


ROUTES = [
    make_passkey_challenge,
    offer_passkey,
    add_passkey,
    list_passkeys,
    get_passkey,
    update_passkey,
    delete_passkey,
]
