"""What the settings of the server are, as far as a workspace depends on them, and a test of its own mail."""

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency

from waypost.api.control.calls import Call, permit
from waypost.clock import HOUR
from waypost.domain.accounts.sign_in import TryLimit
from waypost.domain.values.ids import public
from waypost.engine.accounts.notices import send_own_mail
from waypost.errors import Conflict, Forbidden

#: The test mails of one user in an hour.
MOST_TESTS = 5


class OwnMail(msgspec.Struct, kw_only=True):
    """The mail of the server itself: invitations, password resets and notices."""

    #: Whether there is a mail server: the setting `smtp_url`.
    configured: bool
    #: The sender: the setting `mail_from`.
    sender: str


class Server(msgspec.Struct, kw_only=True):
    """The settings of the server that a workspace depends on. Whoever runs the server changes them."""

    #: How the world reaches it: the setting `public_url`.
    public_url: str
    #: The public URL of each data center: the setting `data_centers`.
    data_centers: dict[str, str]
    mail: OwnMail


class MailTest(msgspec.Struct, kw_only=True):
    """What became of a test mail."""

    to: str
    #: Whether the mail server accepted it.
    accepted: bool
    #: The stage at which it did not, and its reply.
    error: str | None


@get("/v1/server", summary="Get the settings of the server")
async def get_server(call: NamedDependency[Call]) -> Server:
    """Returns the addresses of the server, and whether it can send mail of its own."""
    settings = call.engine.settings
    return Server(
        public_url=settings.base_url,
        data_centers=settings.data_center_urls,
        mail=OwnMail(configured=bool(settings.smtp_url), sender=settings.mail_from),
    )


@post(
    "/v1/server/test-mail",
    status_code=200,
    summary="Send a test mail to yourself",
    opt={"permission": "users.write", "statuses": {"409", "429"}},
)
async def send_test_mail(call: NamedDependency[Call]) -> Response[MailTest]:
    """Sends a mail to your address as invitations and password resets are sent, and says whether it was accepted."""
    session, settings = call.admitted.session, call.engine.settings
    if session is None:
        raise Forbidden("A test mail goes to the user who is signed in, and a key has no address.", code="users_only")
    if not settings.smtp_url:
        raise Conflict(
            "This server has no mail server. Whoever runs it sets `smtp_url` (WAYPOST_SMTP_URL) and restarts it.",
            code="no_mail_server",
        )
    await call.engine.sessions.count_try([TryLimit(f"test-mail:{session.user_id}", MOST_TESTS, HOUR)])

    async def work() -> MailTest:
        body = "This is a test. Invitations and password resets of this server reach you in the same way.\n"
        name = public("ntc", call.engine.ids.one(call.now))
        error = await send_own_mail(settings, session.email, "Test mail of Waypost", body, name, call.now)
        return MailTest(to=session.email, accepted=error is None, error=error)

    return await call.perform_outside(200, work)


ROUTES = permit("settings", [get_server, send_test_mail])
