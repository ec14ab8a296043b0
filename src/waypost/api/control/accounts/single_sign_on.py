"""Single sign-on: the provider of the workspace, and the way of a browser there and back."""

from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from msgspec import Meta

from waypost.api.control.accounts.sessions import end_old_session
from waypost.api.control.admission import client_ip, read_headers
from waypost.api.control.calls import KEYLESS, PUBLIC, Call, permit
from waypost.clock import SECOND, iso
from waypost.domain.accounts import sign_in
from waypost.domain.accounts import single_sign_on as rules
from waypost.domain.accounts.single_sign_on import SignOnProvider, SignOnRefused
from waypost.domain.values.ids import internal, public
from waypost.engine.accounts import sign_on_settings
from waypost.engine.accounts.single_sign_on import CALLBACK
from waypost.engine.accounts.users import require_grantable
from waypost.engine.process import Engine
from waypost.errors import Error, Invalid, NotFound
from waypost.storage.database import Tx

#: Where the sign-in page says why somebody who came back was not let in.
SIGN_IN_PAGE = "/sign-in"
#: Public routes that read a query.
_QUERY = PUBLIC | {"statuses": {"400"}}
Issuer = Annotated[
    str,
    Meta(min_length=1, max_length=rules.LONGEST_URL, description="The https URL by which the provider names itself."),
]
ClientId = Annotated[str, Meta(min_length=1, max_length=rules.LONGEST_URL)]
Secret = Annotated[
    str,
    Meta(min_length=1, max_length=rules.LONGEST_SECRET, description="Without it, the one of the same issuer stays."),
]


class SetSingleSignOn(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The provider of a workspace. What is left out gets its default."""

    issuer: Issuer
    client_id: ClientId
    client_secret: Secret | None = None
    label: Annotated[
        str,
        Meta(
            max_length=rules.LONGEST_LABEL, description="Its name on the sign-in page; the host of the issuer if empty."
        ),
    ] = ""
    domains: Annotated[
        list[str],
        Meta(max_length=rules.MOST_DOMAINS, description="The domains of the email addresses that may sign in."),
    ]
    role: Annotated[
        str | None,
        Meta(
            description="The role of people who are not in the workspace yet: marketer, developer or viewer. "
            "null: only those who are invited."
        ),
    ] = None
    owners: Annotated[bool, Meta(description="Whether owners may sign in by it. Only owners say so.")] = False
    trusts_mfa: Annotated[
        bool, Meta(description="Whether its sign-in counts as a second factor here. Only owners say so.")
    ] = False


class CheckSingleSignOn(msgspec.Struct, forbid_unknown_fields=True):
    """The provider to check."""

    issuer: Issuer


class SingleSignOn(msgspec.Struct, kw_only=True):
    """The provider of the workspace. Its secret is never shown."""

    issuer: str
    client_id: str
    label: str
    domains: list[str]
    role: str | None
    owners: bool
    trusts_mfa: bool
    #: What the provider must know: where it sends browsers back to.
    redirect_uri: str
    updated_at: str


class SingleSignOnCheck(msgspec.Struct, kw_only=True):
    """Whether a provider can be used, or what is wrong with it."""

    ok: bool
    problem: str | None
    #: Where browsers would be led to sign in.
    authorization_endpoint: str | None
    #: What the provider must know: where it sends browsers back to.
    redirect_uri: str


class SignOnChoice(msgspec.Struct, kw_only=True):
    """A provider for a domain of email addresses: `GET /v1/single-sign-on/{id}` leads there."""

    #: The id of the workspace that it opens.
    id: str
    label: str
    #: The host of the provider.
    host: str


class SignOnChoices(msgspec.Struct, kw_only=True):
    """The providers for a domain of email addresses."""

    data: list[SignOnChoice]


@get("/v1/workspace/single-sign-on", summary="Get the single sign-on", opt={"statuses": {"404"}})
async def get_single_sign_on(call: NamedDependency[Call]) -> SingleSignOn:
    """Returns the provider with which people sign in to the workspace. Without one, the error has `redirect_uri`."""
    engine = call.engine
    try:
        return _view(engine, await call.read(sign_on_settings.get_provider, engine.encryption, call.workspace_id))
    except NotFound as error:
        raise error.copy(redirect_uri=engine.sign_on.callback_url) from error


@put("/v1/workspace/single-sign-on", summary="Set the single sign-on", opt={"body": SetSingleSignOn})
async def set_single_sign_on(call: NamedDependency[Call]) -> SingleSignOn:
    """Sets the provider with which people sign in to the workspace, once it has answered.

    Sessions that the one before has opened end if it was another issuer, or if the domains or owners may no longer.
    """
    body, engine = await call.body(SetSingleSignOn), call.engine
    issuer = rules.check_issuer(body.issuer)
    provider = SignOnProvider(
        workspace_id=call.workspace_id,
        label=sign_in.check_name(body.label or rules.host_of(issuer), "label"),
        issuer=issuer,
        client_id=body.client_id,
        client_secret=body.client_secret or "",
        domains=rules.check_domains(body.domains),
        role=rules.check_joining_role(body.role),
        owners=body.owners,
        trusts_mfa=body.trusts_mfa,
        updated_at=call.now,
    )
    # Whoever decides which provider is believed could sign in as any of these.
    require_grantable(call.caller.permissions, provider.widest_role())
    if not provider.client_secret:
        provider = msgspec.structs.replace(provider, client_secret=await _secret_so_far(call, issuer))
    try:
        await engine.sign_on.client.check(issuer)
    except SignOnRefused as error:
        raise Invalid(_advice(error), code="sign_on_provider", field="issuer") from error
    await call.transact(sign_on_settings.set_provider, engine.encryption, provider, call.now)
    call.forget_callers()
    return _view(engine, provider)


@delete("/v1/workspace/single-sign-on", summary="Delete the single sign-on", opt={"statuses": {"404"}})
async def delete_single_sign_on(call: NamedDependency[Call]) -> None:
    """Deletes the provider, and ends the sessions that it has opened. Users stay, with their roles."""
    await call.transact(sign_on_settings.delete_provider, call.workspace_id)
    call.forget_callers()


@post(
    "/v1/workspace/single-sign-on/check",
    status_code=200,
    summary="Check a provider of single sign-on",
    opt=KEYLESS | {"body": CheckSingleSignOn},
)
async def check_single_sign_on(call: NamedDependency[Call]) -> SingleSignOnCheck:
    """Reads the configuration and the keys of a provider, and says what is wrong with them. Nothing is stored."""
    body, redirect_uri = await call.body(CheckSingleSignOn), call.engine.sign_on.callback_url
    try:
        metadata, _ = await call.engine.sign_on.client.check(rules.check_issuer(body.issuer))
    except SignOnRefused as error:
        return SingleSignOnCheck(
            ok=False, problem=_advice(error), authorization_endpoint=None, redirect_uri=redirect_uri
        )
    return SingleSignOnCheck(
        ok=True,
        problem=None,
        authorization_endpoint=metadata.authorization_endpoint,
        redirect_uri=redirect_uri,
    )


@get("/v1/single-sign-on", summary="Find single sign-on", opt=_QUERY)
async def find_single_sign_on(
    request: Request[Any, Any, Any],
    domain: Annotated[
        str, QueryParameter(name="domain", max_length=255, description="The domain of an email address.")
    ],
) -> SignOnChoices:
    """Returns the providers for a domain of email addresses. It says nothing about single addresses."""
    engine: Engine = request.app.state.engine
    found = await engine.database.read(sign_on_settings.find_providers, domain.strip().lower())
    return SignOnChoices(
        data=[
            SignOnChoice(id=public("ws", row["workspace_id"]), label=row["label"], host=rules.host_of(row["issuer"]))
            for row in found
        ]
    )


@get("/v1/single-sign-on/{id:str}", status_code=303, summary="Sign in by single sign-on", opt=_QUERY)
async def begin_single_sign_on(
    request: Request[Any, Any, Any],
    id: FromPath[str],
    to: Annotated[str, QueryParameter(name="to", description="The page to open afterwards.")] = "/",
    fresh: Annotated[bool, QueryParameter(name="fresh", description="Whether to prove anew who one is.")] = False,
) -> Response[None]:
    """Leads a browser to the provider of a workspace; to the sign-in page, with a `problem`, if that cannot be."""
    engine: Engine = request.app.state.engine
    ip = client_ip(engine, request.scope, read_headers(request.scope["headers"]))
    try:
        url, cookie = await engine.sign_on.begin(internal("ws", id), to, ip, fresh=fresh)
    except (SignOnRefused, Error) as error:
        return _leave(_problem_page(error))
    return _leave(url, **{rules.COOKIE: (cookie, rules.LASTS)})


@get(CALLBACK, status_code=303, summary="Come back from single sign-on", opt=PUBLIC)
async def finish_single_sign_on(request: Request[Any, Any, Any]) -> Response[None]:
    """Opens a session for somebody whom a provider has sent back, and leads to the page that they wanted."""
    engine: Engine = request.app.state.engine
    headers = read_headers(request.scope["headers"])
    ip = client_ip(engine, request.scope, headers)
    cookie, answer = rules.read_cookie(headers.get("cookie", "")), rules.read_answer(request.scope["query_string"])
    try:
        back = await engine.sign_on.finish(cookie, answer, ip, headers.get("user-agent", ""))
    except (SignOnRefused, Error) as error:
        return _leave(_problem_page(error), **{rules.COOKIE: ("", 0)})
    await end_old_session(request, back.session.user_id)
    session = back.cookie, sign_in.LONGEST_SIGN_ON
    return _leave(back.path, **{rules.COOKIE: ("", 0), sign_in.COOKIE: session})


def _problem_page(error: SignOnRefused | Error) -> str:
    code = "sign_on_unavailable" if isinstance(error, NotFound) else error.code
    return f"{SIGN_IN_PAGE}?{urlencode({'problem': code})}"


def _leave(url: str, **cookies: tuple[str, int]) -> Response[None]:
    """Return a redirect that sets cookies: the value of each, and how long it stays (0: it is deleted)."""
    response: Response[None] = Response(
        None, status_code=303, headers={"location": url, "cache-control": "no-store", "referrer-policy": "no-referrer"}
    )
    for name, (value, lasts) in cookies.items():
        seconds = lasts // SECOND
        response.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")
    return response


def _advice(error: SignOnRefused) -> str:
    return (
        f"The provider cannot be used: {error.detail}. Copy the issuer from the provider's settings; "
        "its configuration must be at /.well-known/openid-configuration below it."
    )


async def _secret_so_far(call: Call, issuer: str) -> str:
    """Return the secret that is set. It is not sent to another issuer than the one it was given for."""

    async def find(tx: Tx) -> SignOnProvider | None:
        try:
            return await sign_on_settings.get_provider(tx, call.engine.encryption, call.workspace_id)
        except NotFound:
            return None

    found = await call.read(find)
    if found is None or found.issuer != issuer:
        raise Invalid(
            "Send the `client_secret` that the provider gave you for this client.",
            code="secret_needed",
            field="client_secret",
        )
    return found.client_secret


def _view(engine: Engine, provider: SignOnProvider) -> SingleSignOn:
    return SingleSignOn(
        issuer=provider.issuer,
        client_id=provider.client_id,
        label=provider.label,
        domains=list(provider.domains),
        role=provider.role,
        owners=provider.owners,
        trusts_mfa=provider.trusts_mfa,
        redirect_uri=engine.sign_on.callback_url,
        updated_at=iso(provider.updated_at),
    )


ROUTES = permit(
    "users",
    [
        get_single_sign_on,
        set_single_sign_on,
        delete_single_sign_on,
        check_single_sign_on,
        find_single_sign_on,
        begin_single_sign_on,
        finish_single_sign_on,
    ],
)
