"""Connection set-up: check it, send a test message, list the steps at the provider."""

from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from waypost.api.control.calls import Call, permit
from waypost.api.control.connection_view import SetupCheck, check_view, connection_id, uses_firehose
from waypost.clock import SECOND
from waypost.domain.messaging.failure_codes import describe
from waypost.domain.messaging.message import Content, Outgoing, SendOutcome
from waypost.domain.messaging.request import check_content
from waypost.domain.providers.aws.iam import iam_policy, setup_steps
from waypost.domain.providers.connection import Connection
from waypost.domain.providers.setup_checks import Report
from waypost.domain.templates.liquid.expressions import RequestContext, compile_text
from waypost.domain.values.ids import public
from waypost.engine.audience.recipients import describe_recipient, find_address
from waypost.engine.providers import connection_records
from waypost.engine.providers.connection_records import ConnectionRecord
from waypost.engine.providers.registry import GLOBAL
from waypost.storage.database import Tx

Text = Annotated[str, Meta(max_length=500_000)]
Line = Annotated[str, Meta(max_length=2000)]


class SendTestMessage(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A test message. It is sent as given: no template is applied and subscriptions are not checked."""

    to: Annotated[
        str,
        Meta(
            description="Your own phone number or email address, or for events a profile identifier.",
            min_length=1,
            max_length=320,
        ),
    ]
    #: The text of an SMS, or the plain-text part of an email.
    text: Text = ""
    media_urls: Annotated[list[Line], Meta(max_length=10)] = []
    subject: Line = ""
    preheader: Line = ""
    html: Text = ""
    sender: Line = ""
    reply_to: Line = ""
    metric: Line = ""
    properties: dict[str, Any] = {}
    purpose: Annotated[str, Meta(pattern="^(transactional|promotional)$")] = "transactional"


class TestMessageRequest(msgspec.Struct, kw_only=True):
    """The request that was sent to the provider; secrets are masked."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: str


class TestMessageResponse(msgspec.Struct, kw_only=True):
    """The response of the provider."""

    status: int
    headers: list[tuple[str, str]]
    body: str


class TestMessageVerdict(msgspec.Struct, kw_only=True):
    """How Waypost interprets the response."""

    #: accepted, rejected, retry, unknown or misconfigured.
    outcome: str
    code: int | None
    #: The name of the code.
    failure: str | None
    reason: str | None
    provider_code: str | None
    detail: str | None
    provider_message_id: str | None
    #: Seconds to wait before a retry, as requested by the provider.
    retry_after: float | None


class TestMessageResult(msgspec.Struct, kw_only=True):
    """The result of a test message."""

    #: The message id that was sent to the provider. GET /v1/messages does not list test messages.
    message_id: str
    accepted: bool
    request: TestMessageRequest | None
    response: TestMessageResponse | None
    verdict: TestMessageVerdict
    #: When each phase ended, in milliseconds since the start.
    timings: dict[str, float]
    error: str | None


class SetupStep(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One step of the set-up at the provider."""

    title: str
    text: str
    #: A URL to open or to copy.
    url: str = ""


class ConnectionSetup(msgspec.Struct, kw_only=True):
    """The steps of the set-up at the provider, in order."""

    connector: str
    data_center: str
    #: AWS connectors only: the destination URL of the Firehose stream.
    tracker_url: str | None
    callback_url: str
    #: The URL for receipts per data center: the tracker URL for AWS connectors, the callback URL for others.
    data_centers: dict[str, str]
    steps: list[SetupStep]


async def _find(call: Call, id: str) -> ConnectionRecord:
    return await call.read(
        connection_records.find_connection, call.engine.encryption, call.workspace_id, connection_id(id)
    )


@post("/v1/connections/{id:str}/check", status_code=200, summary="Check the set-up of a connection")
async def check_connection(call: NamedDependency[Call], id: FromPath[str]) -> Response[SetupCheck]:
    """Checks the set-up with calls to the provider. A paused connection resumes if the check succeeds."""
    engine = call.engine

    async def work() -> SetupCheck:
        connection = await _find(call, id)
        tracker_url = engine.connections.tracker_url(connection.data_center)
        report = await connection_records.run_setup_check(
            engine.outbound, connection.usable, connection.config, tracker_url, call.now
        )
        if report is not None:
            await engine.database.transact(_apply, call, connection, report)
        return check_view(report, call.now)

    response = await call.perform_outside(200, work)
    await call.refresh()
    return response


async def _apply(tx: Tx, call: Call, connection: ConnectionRecord, report: Report) -> None:
    await connection_records.apply_check(
        tx, call.engine.encryption, call.workspace_id, connection.id, connection.version, report, call.now
    )


@post(
    "/v1/connections/{id:str}/test", status_code=200, summary="Send a test message now", opt={"body": SendTestMessage}
)
async def test_connection(call: NamedDependency[Call], id: FromPath[str]) -> Response[TestMessageResult]:
    """Sends one message immediately, whatever the connection's status, and returns the request and the response."""
    body = await call.body(SendTestMessage)
    engine = call.engine

    async def work() -> TestMessageResult:
        connection = await engine.connections.find(call.workspace_id, connection_id(id))
        message = _outgoing(call, connection, body)
        result = await engine.client.send_test(connection, message, call.now)
        verdict, request, response = result.verdict, result.request, result.response
        failed = None if verdict.code is None else describe(verdict.code)
        return TestMessageResult(
            message_id=public("msg", message.id),
            accepted=verdict.outcome is SendOutcome.ACCEPTED,
            request=None if request is None else TestMessageRequest(**msgspec.structs.asdict(request)),
            response=None if response is None else TestMessageResponse(**msgspec.structs.asdict(response)),
            verdict=TestMessageVerdict(
                outcome=verdict.outcome.value,
                code=verdict.code,
                failure=failed.name if failed is not None else None,
                reason=verdict.reason,
                provider_code=verdict.provider_code,
                detail=verdict.detail,
                provider_message_id=verdict.provider_message_id,
                retry_after=None if verdict.retry_after is None else verdict.retry_after / SECOND,
            ),
            timings=result.timings,
            error=result.error,
        )

    return await call.perform_outside(200, work)


def _outgoing(call: Call, connection: Connection, body: SendTestMessage) -> Outgoing:
    """Return the message to send; raise Invalid if its address or content is missing."""
    address, _ = find_address(connection.channel, body.to, None)
    content = Content(
        text=body.text,
        media_urls=body.media_urls,
        subject=body.subject,
        preheader=body.preheader,
        html=body.html,
        sender=body.sender,
        reply_to=body.reply_to,
        metric=body.metric,
        properties=body.properties,
        recipient=describe_recipient(connection.channel, address, None),
    )
    check_content(connection.channel, content)
    return Outgoing(
        id=call.engine.ids.one(call.now),
        workspace_id=call.workspace_id,
        connection_id=connection.id,
        channel=connection.channel,
        address=address,
        content=content,
        purpose=body.purpose,
        test=True,
        created_at=call.now,
        expires_at=call.now + connection.validity_s * SECOND,
    )


@get("/v1/connections/{id:str}/iam-policy", summary="Get the IAM policy of an AWS connection")
async def get_connection_iam_policy(call: NamedDependency[Call], id: FromPath[str]) -> dict[str, Any]:
    """Returns the minimal IAM policy for this connection, with its region, account and project where known."""
    connection = await _find(call, id)
    account_id = connection.report.account_id if connection.report else None
    return iam_policy(connection.connector_name, connection.config, account_id)


@get("/v1/connections/{id:str}/setup", summary="Get the set-up steps of a connection")
async def get_connection_setup(call: NamedDependency[Call], id: FromPath[str]) -> ConnectionSetup:
    """Returns the steps to do at the provider, in order, with the URLs for this connection's receipts."""
    connection = await _find(call, id)
    connections, connector = call.engine.connections, connection.usable
    chosen = connection.data_center
    tracker_url = connections.tracker_url(chosen)
    callback_url = connections.receipts_url(connection.id, chosen)
    firehose = uses_firehose(connector)
    centers = {
        name: connections.tracker_url(name) if firehose else connections.receipts_url(connection.id, name)
        for name in connections.data_centers
    }
    steps = setup_steps(connector.name, connection.config, tracker_url, centers if len(centers) > 1 else None)
    values = {
        "config": {name: value for name, value in connection.config.items() if name not in connector.secrets},
        "tracker_url": tracker_url,
        "receipts_url": callback_url,
        "callback_url": callback_url,
    }
    context = RequestContext(values)
    texts = [compile_text(text)(context) for text in connector.setup]
    plain = [{"title": f"Step {number}", "text": text} for number, text in enumerate(texts, 1)]
    return ConnectionSetup(
        connector=connector.name,
        data_center=chosen or GLOBAL,
        tracker_url=tracker_url if firehose else None,
        callback_url=callback_url,
        data_centers=centers,
        steps=[SetupStep(**step) for step in steps or plain],
    )


ROUTES = permit("connections", [check_connection, test_connection, get_connection_iam_policy, get_connection_setup])
