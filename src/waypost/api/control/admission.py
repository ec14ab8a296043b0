"""Who may call: the API key or the session of a request, and what both must prove."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from waypost.domain.accounts.callers import Caller
from waypost.domain.accounts.sign_in import made_by_another_site, read_cookie
from waypost.domain.values.address_ranges import client_address
from waypost.domain.values.ids import internal
from waypost.engine.accounts.sessions import Membership, Session, require_confirmation, require_second_factor
from waypost.engine.accounts.workspaces import Keyring
from waypost.engine.process import Engine
from waypost.errors import Forbidden, Unauthorized

#: Methods that change nothing.
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: What a user must have proved lately: that nobody else sits at the machine.
_SENSITIVE = frozenset({"webhooks.secrets", "keys.write", "users.write", "workspace.delete"})
#: What asks for a second factor in workspaces that want it for changes.
_GUARDED = frozenset({"connections.write", "webhooks.write", "webhooks.secrets", "keys.write", "users.write"})
#: The header with which a user chooses one of several workspaces.
WORKSPACE_HEADER = "waypost-workspace"


class Admitted(msgspec.Struct, frozen=True):
    """The caller of a request, where it came from, and the session of a user."""

    caller: Caller
    ip: str
    session: Session | None = None

    @property
    def membership(self) -> Membership | None:
        """Return the workspace of a user; None for a key."""
        return self.session.membership(self.caller.workspace_id) if self.session else None

    def require_own_sign_in(self) -> None:
        """Raise Forbidden for a session of single sign-on: a workspace's provider vouches for nobody beyond it.

        Otherwise whoever runs one workspace could name its provider somebody else, and take over their account.
        """
        if self.session is not None and self.session.sign_on_id is not None:
            raise Forbidden(
                "You signed in by single sign-on, which opens one workspace and not your own account. "
                "Sign in with your password or a passkey for this.",
                code="single_sign_on_only",
            )

    def require(self, permission: str, now: int) -> None:
        """Raise Forbidden unless the caller has the permission and has proved what it takes."""
        session, membership = self.session, self.membership
        if session is None:
            self.caller.require(permission)
            return
        if membership is None:
            raise Forbidden("You are in no workspace. Ask for an invitation, or create one.", code="no_workspace")
        require_second_factor(session, membership)
        self.caller.require(permission)
        guarded = membership.mfa == "changes" and permission in _GUARDED
        if guarded or permission in _SENSITIVE:
            require_confirmation(session, second_factor=guarded, now=now)


async def admit(engine: Engine, keyring: Keyring, scope: Mapping[str, Any]) -> Admitted:
    """Return the caller of a request, by its Authorization header or else by its session cookie.

    Raise Unauthorized without either, and Forbidden if a page of another site made a browser send the cookie.
    """
    headers = read_headers(scope["headers"])
    ip = client_ip(engine, scope, headers)
    authorization = headers.get("authorization")
    if authorization is not None:
        caller = keyring.remember(authorization) or await keyring.find(authorization, ip=ip)
        return Admitted(caller, ip)
    cookie = read_cookie(headers.get("cookie", ""))
    if cookie is None:
        raise Unauthorized
    check_origin(scope["method"], headers)
    session = await engine.sessions.find(cookie, ip)
    chosen = headers.get(WORKSPACE_HEADER)
    return Admitted(session.caller(internal("ws", chosen) if chosen else None), ip, session)


def check_origin(method: str, headers: Mapping[str, str]) -> None:
    """Raise Forbidden if a page of another site made a browser send a request that may change something."""
    if method not in SAFE and made_by_another_site(
        headers.get("sec-fetch-site"), headers.get("origin"), headers.get("host", "")
    ):
        raise Forbidden("A page of another site sent this request. Nothing was done.", code="cross_site")


def read_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by name; several of one name are joined with commas, and cookies with semicolons."""
    found: dict[str, str] = {}
    for raw, value in headers:
        name, text = raw.decode("latin-1"), value.decode("latin-1")
        found[name] = text if name not in found else f"{found[name]}{'; ' if name == 'cookie' else ','}{text}"
    return found


def client_ip(engine: Engine, scope: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """Return the IP address of the client, behind the proxies that are trusted."""
    client = scope.get("client")
    return client_address(client[0] if client else "", headers.get("x-forwarded-for", ""), engine.trusted_proxies)
