"""What is shown of connections and of their set-up checks: everything but secrets."""

from typing import Any

import msgspec

from waypost.clock import iso
from waypost.domain.providers.connector import Connector
from waypost.domain.providers.setup_checks import Report, Result
from waypost.domain.values.ids import internal, public
from waypost.engine.providers import connection_records
from waypost.engine.providers.connection_records import ConnectionRecord
from waypost.engine.providers.registry import GLOBAL, ConnectionRegistry

#: A secret that is longer than this shows its last characters, so that people know which one it is.
LONG_SECRET = 12
SHOWN_OF_SECRET = 4


class CheckStep(msgspec.Struct, kw_only=True):
    """One step of a set-up check."""

    name: str
    #: The call that said so.
    call: str
    #: ok, warning, failed or unverified.
    result: str
    setup_code: int | None
    meaning: str | None
    resolution: list[str]
    #: The provider's own name for the error.
    error: str | None
    detail: str | None


class SetupCheck(msgspec.Struct, kw_only=True):
    """What a set-up check found, with the step that decided it."""

    #: Null when nobody could tell.
    ok: bool | None
    #: ok, warning, failed, unverified, or none when the connector has nothing to check.
    result: str
    checked_at: str | None
    setup_code: int | None = None
    meaning: str | None = None
    resolution: list[str] = []
    call: str | None = None
    #: The AWS account and the stream, where they are known.
    account_id: str | None = None
    stream: str | None = None
    checks: list[CheckStep] = []


class ConnectionLimits(msgspec.Struct, kw_only=True):
    """What holds, with what the connector says put in where the owner says nothing."""

    per_second: float | None
    concurrency: int | None
    validity: int | None


class Connection(msgspec.Struct, kw_only=True):
    """A connection."""

    id: str
    name: str
    connector: str
    channel: str
    #: enabled, paused (somebody has to mend it) or disabled.
    status: str
    #: Why it is paused or disabled: `by_owner`, or what the provider complained of.
    status_reason: str | None
    status_at: str | None
    #: ok, or failing: it took nothing lately, and is spared as far as this process knows.
    health: str
    #: The fields that are not secret.
    config: dict[str, Any]
    #: Those that are, masked; null where there is none.
    secrets: dict[str, str | None]
    position: int
    per_second: float | None
    concurrency: int | None
    validity: int | None
    limits: ConnectionLimits
    data_center: str
    #: What the last set-up check found; null before the first.
    check: SetupCheck | None
    #: Where the provider sends its receipts.
    callback_url: str
    #: For connectors of AWS: where Firehose sends them instead.
    tracker_url: str | None
    last_error: str | None
    last_error_at: str | None
    created_at: str
    updated_at: str


class ConnectionCreated(Connection, kw_only=True):
    """A connection with its new key for receipts, which is not shown again."""

    access_key_for_receipts: str


def connection_id(text: str) -> int:
    """The connection that a path names."""
    return internal("con", text)


def mask(secret: Any) -> str | None:
    """What is shown of a secret."""
    text = "" if secret is None else str(secret)
    if not text:
        return None
    return "••••" + (text[-SHOWN_OF_SECRET:] if len(text) > LONG_SECRET else "")


def check_view(report: Report | None, checked_at: int | None) -> SetupCheck:
    """A report as it is shown."""
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


def connection_view(connections: ConnectionRegistry, account: ConnectionRecord) -> Connection:
    """A connection as it is shown: without any secret."""
    return Connection(**_fields(connections, account))


def created_view(connections: ConnectionRegistry, account: ConnectionRecord, key: str) -> ConnectionCreated:
    """The same with the key for its receipts, this once."""
    return ConnectionCreated(access_key_for_receipts=key, **_fields(connections, account))


def _fields(connections: ConnectionRegistry, account: ConnectionRecord) -> dict[str, Any]:
    connector = account.connector
    hidden = connector.secrets if connector else frozenset()
    return {
        "id": public("con", account.id),
        "name": account.name,
        "connector": account.connector_name,
        "channel": account.channel,
        "status": account.status,
        "status_reason": account.status_reason,
        "status_at": _when(account.status_at),
        "health": "failing" if connections.failing(account.id) else "ok",
        "config": {name: value for name, value in account.config.items() if name not in hidden},
        "secrets": {name: mask(value) for name, value in account.config.items() if name in hidden},
        "position": account.position,
        "per_second": account.per_second,
        "concurrency": account.concurrency,
        "validity": account.validity_s,
        "limits": ConnectionLimits(
            per_second=account.per_second or (connector.per_second if connector else None),
            concurrency=account.concurrency or (connector.concurrency if connector else None),
            validity=account.validity_s or (connector.validity_s if connector else None),
        ),
        "data_center": account.data_center or GLOBAL,
        "check": check_view(account.report, account.checked_at) if account.report else None,
        "callback_url": connections.receipts_url(account.id, account.data_center),
        "tracker_url": connections.tracker_url(account.data_center) if connector and uses_firehose(connector) else None,
        "last_error": account.last_error,
        "last_error_at": _when(account.last_error_at),
        "created_at": iso(account.created_at),
        "updated_at": iso(account.updated_at),
    }


def uses_firehose(connector: Connector) -> bool:
    """Whether its receipts come through Amazon Data Firehose."""
    return connector.callback is not None and connector.callback.verify.scheme == "firehose"


def _when(at: int | None) -> str | None:
    return None if at is None else iso(at)
