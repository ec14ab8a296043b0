"""The payload formats of endpoints: those shipped with Waypost as files, and those that users write."""

import re
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from waypost.clock import Ids
from waypost.domain.events.event_types import describe
from waypost.domain.templates.liquid.context import UndefinedVariable
from waypost.domain.values.ids import internal, public
from waypost.domain.webhooks import klaviyo
from waypost.domain.webhooks.endpoint import STANDARD, event_object, webhook_body
from waypost.domain.webhooks.payload_format import (
    PayloadFormat,
    PayloadSource,
    Subject,
    compile_format,
    payload_values,
    write_source,
)
from waypost.errors import Conflict, Invalid, NotFound
from waypost.storage.database import Tx

#: The most formats of a workspace.
MOST_FORMATS = 200
PREFIX = "fmt"

_OWN = re.compile(r"fmt_[0-7][0-9a-f]{15}\Z")
_decode = msgspec.json.Decoder(PayloadSource).decode


class FormatRecord(msgspec.Struct, frozen=True):
    """A format that a user wrote."""

    id: int
    name: str
    source: PayloadSource
    version: int
    created_at: int
    updated_at: int


@cache
def shipped_formats() -> dict[str, str]:
    """Return the sources of the shipped formats by name."""
    folder = resources.files("waypost.domain.webhooks").joinpath("formats")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".json")), key=lambda file: file.name)
    return {file.name.removesuffix(".json"): file.read_text("utf-8") for file in files}


async def load_formats(tx: Tx, named: Iterable[tuple[int, str]]) -> dict[tuple[int, str], PayloadFormat]:
    """Return the formats of these workspaces and names; formats that are code, or gone, are not among them."""
    found: dict[tuple[int, str], PayloadFormat] = {}
    own: set[int] = set()
    for workspace_id, name in named:
        if name in shipped_formats():
            found[workspace_id, name] = compile_format(shipped_formats()[name])
        elif _OWN.match(name):
            own.add(workspace_id)
    if own:
        for id_, workspace_id, source in await tx.rows("payload_formats.of_workspaces", ids=sorted(own)):
            found[workspace_id, public(PREFIX, id_)] = compile_format(source)
    return found


async def find_payload(tx: Tx, workspace_id: int, name: str) -> PayloadFormat | None:
    """Return the format of a name, or None if it is not made of data.

    Raise Invalid (code `unknown_format`) if there is none. A format that a user wrote is not deleted before the end of
    the transaction, if it writes.
    """
    if name in (STANDARD, klaviyo.FORMAT):
        return None
    found = (await load_formats(tx, [(workspace_id, name)])).get((workspace_id, name))
    if found is None:
        known = ", ".join((STANDARD, *shipped_formats()))
        raise Invalid(
            f"There is no format {name[:60]!r}; there are {known}, and those of GET /v1/webhook-formats.",
            code="unknown_format",
            field="format",
        )
    return found


async def hold_format(tx: Tx, workspace_id: int, name: str) -> None:
    """Keep a format that a user wrote, if there is one of this name, from being deleted or changed meanwhile."""
    if _OWN.match(name):
        await tx.run("payload_formats.hold", workspace_id=workspace_id, id=internal(PREFIX, name))


async def create_format(
    tx: Tx, ids: Ids, workspace_id: int, name: str, source: PayloadSource, now: int
) -> FormatRecord:
    """Create a format from a source that `check_source` accepts."""
    row = await tx.row("payload_formats.count", workspace_id=workspace_id)
    if row is not None and row[0] >= MOST_FORMATS:
        raise Conflict(f"A workspace has at most {MOST_FORMATS} formats; delete one first.", code="too_many_formats")
    id_ = ids.one(now)
    await tx.run(
        "payload_formats.add", id=id_, workspace_id=workspace_id, name=name, source=write_source(source), now=now
    )
    return await find_format(tx, workspace_id, id_)


async def find_format(tx: Tx, workspace_id: int, id_: int) -> FormatRecord:
    """Return a format; raise NotFound if the workspace has none with this id."""
    row = await tx.row("payload_formats.get", workspace_id=workspace_id, id=id_)
    if row is None:
        raise NotFound("There is no such webhook format in this workspace; it may have been deleted.")
    return _read(row)


async def list_formats(tx: Tx, workspace_id: int, before: int, n: int) -> list[FormatRecord]:
    """Return a page of formats, newest first."""
    return [_read(row) for row in await tx.rows("payload_formats.list", workspace_id=workspace_id, before=before, n=n)]


async def change_format(
    tx: Tx, workspace_id: int, record: FormatRecord, name: str, source: PayloadSource, now: int
) -> FormatRecord:
    """Change a format. The endpoints that use it get the new one with their next delivery.

    Raise Conflict (code `format_in_use`) if it has no body any more for an event type of one of them.
    """
    used = public(PREFIX, record.id)
    changed = source != record.source
    if changed:
        await hold_format(tx, workspace_id, used)
        compiled = compile_format(write_source(source))
        for endpoint in await tx.records("payload_formats.users", workspace_id=workspace_id, format=used):
            types = msgspec.json.decode(endpoint["event_types"], type=tuple[str, ...])
            if missing := [type_ for type_ in types if not compiled.takes(type_)]:
                raise Conflict(
                    f"The endpoint {public('whk', endpoint['id'])} uses this format for {missing[0]}, which it would "
                    "have no body for. Change the event types of the endpoint first.",
                    code="format_in_use",
                )
    await tx.run(
        "payload_formats.change",
        workspace_id=workspace_id,
        id=record.id,
        name=name,
        source=write_source(source),
        version=record.version + changed,
        now=now,
    )
    if changed and await tx.run("payload_formats.renew_endpoints", workspace_id=workspace_id, format=used, now=now):
        await tx.run("configurations.touch", area="webhooks", workspace_id=workspace_id)
    return await find_format(tx, workspace_id, record.id)


async def delete_format(tx: Tx, workspace_id: int, id_: int, now: int) -> None:
    """Delete a format. Raise Conflict (code `format_in_use`) if an endpoint uses it."""
    if not await tx.run("payload_formats.delete", workspace_id=workspace_id, id=id_, now=now):
        raise NotFound("There is no such webhook format in this workspace; it may have been deleted.")
    users = await tx.records("payload_formats.users", workspace_id=workspace_id, format=public(PREFIX, id_))
    if users:
        raise Conflict(
            f"{len(users)} endpoints use this format, such as {public('whk', users[0]['id'])}. Give them another "
            "format, or delete them first.",
            code="format_in_use",
        )


def check_source(source: PayloadSource, endpoint: Subject, now: int) -> list[UndefinedVariable]:
    """Compile a source and render it for an example of each of its event types.

    Return the variables that it outputs and the examples do not have. Raise Invalid for its first error.
    """
    compiled = compile_format(write_source(source))
    found: list[UndefinedVariable] = []
    for type_ in compiled.event_types:
        entry = describe(type_)
        if "*" in type_ or entry.metric is not None:
            # Nobody knows the properties of a metric.
            continue
        example: dict[str, Any] = entry.example["data"]
        contents = {name: value for name, value in example.items() if name not in ("id", "message_id", "profile_id")}
        data = event_object(now, "example-message-1", now, msgspec.json.encode(contents))
        gaps = compiled.undefined(payload_values(webhook_body(type_, now, data), endpoint))
        found += [gap for gap in gaps if gap not in found]
    return found


def _read(row: tuple[Any, ...]) -> FormatRecord:
    id_, name, source, version, created_at, updated_at = row
    return FormatRecord(id_, name, _decode(source), version, created_at, updated_at)
