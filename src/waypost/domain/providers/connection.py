"""Connections: an account at a provider, with its connector, credentials and limits."""

from collections.abc import Mapping
from typing import Any

import msgspec

from waypost.domain.providers.connector import Connector


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """A connection, ready to send messages with."""

    id: int
    workspace_id: int
    name: str
    connector: Connector
    #: Every field of the connector, with defaults filled in and secrets decrypted.
    config: dict[str, Any]
    #: enabled, paused (by Waypost, until it is corrected) or disabled (by its owner).
    status: str
    #: The position among the connections of its channel; lower positions are tried first.
    position: int
    #: Messages per second; None for no limit.
    per_second: float | None
    #: The most calls at the same time.
    concurrency: int
    #: How long a message may be tried, in seconds.
    validity_s: int
    #: The data center whose public URL receives its receipts; empty for the only one of the workspace.
    data_center: str
    version: int

    @property
    def channel(self) -> str:
        """sms, email or event."""
        return self.connector.channel


def same_account(one: Connection, other: Connection) -> bool:
    """Return whether two connections belong to the same account at a provider, in the same workspace.

    They use the same connector, and the fields that identify the account have the same values and are not all empty.
    """
    if one.workspace_id != other.workspace_id or one.connector.name != other.connector.name:
        return False
    names = one.connector.account_fields
    values = [(one.config.get(name), other.config.get(name)) for name in names]
    return any(first not in (None, "") for first, _ in values) and all(first == second for first, second in values)


def secret_values(connector: Connector, config: Mapping[str, Any]) -> list[str]:
    """Return the secrets of a connection's configuration as texts; of a field of header lines, also each value."""
    found = []
    for field in connector.fields:
        value = config.get(field.name)
        if not field.secret or value is None or isinstance(value, bool) or value == "":
            continue
        text = str(value)
        found.append(text)
        if field.format == "headers":
            found += [line.partition(":")[2].strip() for line in text.splitlines()]
    return [text for text in found if text]
