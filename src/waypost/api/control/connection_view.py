"""The API views of connections and set-up checks, without secrets."""

from typing import Any

import msgspec

from waypost.clock import iso
from waypost.domain.providers.connector import Connector
from waypost.domain.providers.setup_checks import Report, Result
from waypost.domain.values.ids import internal, public
from waypost.engine.providers import connection_records
from waypost.engine.providers.connection_records import ConnectionRecord
from waypost.engine.providers.registry import GLOBAL, ConnectionRegistry

#: The mask of a longer secret shows its last characters, so that operators can tell secrets apart.
LONG_SECRET = 12
SHOWN_OF_SECRET = 4


class CheckStep(msgspec.Struct, kw_only=True):
    """One step of a set-up check."""

    name: str
    #: The API call that gave the result.
    call: str
    #: ok, warning, failed or unverified.
    result: str
    setup_code: int | None
    meaning: str | None
    resolution: list[str]
    #: The error code of the provider.
    error: str | None
    detail: str | None


class SetupCheck(msgspec.Struct, kw_only=True):
    """The result of a set-up check, with the step that decided it."""

    #: Null if the check could not decide.
    ok: bool | None
    #: ok, warning, failed, unverified, or none if the connector has no set-up check.
    result: str
    checked_at: str | None
    setup_code: int | None = None
    meaning: str | None = None
    resolution: list[str] = []
    call: str | None = None
    #: The AWS account and the stream, if known.
    account_id: str | None = None
    stream: str | None = None
    checks: list[CheckStep] = []


class ConnectionLimits(msgspec.Struct, kw_only=True):
    """The effective limits: those of the connection, or else those of its connector."""

    per_second: float | None
    concurrency: int | None
    validity: int | None


class Connection(msgspec.Struct, kw_only=True):
    """A connection to a provider account."""

    id: str
    name: str
    connector: str
    channel: str
    #: enabled, paused (an operator must fix it) or disabled.
    status: str
    #: Why it is paused or disabled: `by_owner`, or the error of the provider.
    status_reason: str | None
    status_at: str | None
    #: ok, or failing: recent calls failed, and this process sends fewer for now.
    health: str
    #: The fields of the connector that are not secret.
    config: dict[str, Any]
    #: The secret fields, masked; null if a field is not set.
    secrets: dict[str, str | None]
    position: int
    per_second: float | None
    concurrency: int | None
    validity: int | None
    limits: ConnectionLimits
    data_center: str
    #: The result of the last set-up check; null before the first.
    check: SetupCheck | None
    #: The URL to which the provider sends receipts.
    callback_url: str
    #: AWS connectors only: the URL to which Firehose sends receipts.
    tracker_url: str | None
    last_error: str | None
    last_error_at: str | None
    created_at: str
    updated_at: str


class ConnectionCreated(Connection, kw_only=True):
    """A connection with its new access key for receipts. The key is shown only once."""

    access_key_for_receipts: str


def connection_id(text: str) -> int:
    """Return the internal id for a connection id from the API."""
    return internal("con", text)


def mask(secret: Any) -> str | None:
    """Return the mask of a secret; None if it is not set."""
    text = "" if secret is None else str(secret)
    if not text:
        return None
    return "••••" + (text[-SHOWN_OF_SECRET:] if len(text) > LONG_SECRET else "")


def check_view(report: Report | None, checked_at: int | None) -> SetupCheck:
    """Return the API view of a report."""
    if report is None:
        return SetupCheck(ok=None, result="none", checked_at=None)
    deciding = report.failure or report.unverified
    steps = [
        CheckStep(
            name=check.name,
            call=check.call,
            result=check.result.value,
            setup_code=check.setup_code,
            meaning=check.meaning,
            resolution=list(check.resolution),
            error=check.error,
            detail=check.detail,
        )
        for check in report.checks
    ]
    return SetupCheck(
        ok=None if report.result is Result.UNVERIFIED else connection_records.passed(report),
        result=report.result.value,
        checked_at=None if checked_at is None else iso(checked_at),
        setup_code=deciding.setup_code if deciding else None,
        meaning=deciding.meaning if deciding else None,
        resolution=list(deciding.resolution) if deciding else [],
        call=deciding.call if deciding else None,
        account_id=report.account_id,
        stream=report.stream,
        checks=steps,
    )


def connection_view(connections: ConnectionRegistry, connection: ConnectionRecord) -> Connection:
    """Return the API view of a connection; it contains no secrets."""
    return Connection(**_fields(connections, connection))


def created_view(connections: ConnectionRegistry, connection: ConnectionRecord, key: str) -> ConnectionCreated:
    """Return the API view of a connection with its new access key for receipts."""
    return ConnectionCreated(access_key_for_receipts=key, **_fields(connections, connection))


def _fields(connections: ConnectionRegistry, connection: ConnectionRecord) -> dict[str, Any]:
    connector = connection.connector
    hidden = connector.secrets if connector else frozenset()
    return {
        "id": public("con", connection.id),
        "name": connection.name,
        "connector": connection.connector_name,
        "channel": connection.channel,
        "status": connection.status,
        "status_reason": connection.status_reason,
        "status_at": _when(connection.status_at),
        "health": "failing" if connections.failing(connection.id) else "ok",
        "config": {name: value for name, value in connection.config.items() if name not in hidden},
        "secrets": {name: mask(value) for name, value in connection.config.items() if name in hidden},
        "position": connection.position,
        "per_second": connection.per_second,
        "concurrency": connection.concurrency,
        "validity": connection.validity_s,
        "limits": ConnectionLimits(
            per_second=connection.per_second or (connector.per_second if connector else None),
            concurrency=connection.concurrency or (connector.concurrency if connector else None),
            validity=connection.validity_s or (connector.validity_s if connector else None),
        ),
        "data_center": connection.data_center or GLOBAL,
        "check": check_view(connection.report, connection.checked_at) if connection.report else None,
        "callback_url": connections.receipts_url(connection.id, connection.data_center),
        "tracker_url": connections.tracker_url(connection.data_center)
        if connector and uses_firehose(connector)
        else None,
        "last_error": connection.last_error,
        "last_error_at": _when(connection.last_error_at),
        "created_at": iso(connection.created_at),
        "updated_at": iso(connection.updated_at),
    }


def uses_firehose(connector: Connector) -> bool:
    """Return whether receipts of this connector arrive through Amazon Data Firehose."""
    return connector.callback is not None and connector.callback.verify.scheme == "firehose"


def _when(at: int | None) -> str | None:
    return None if at is None else iso(at)
