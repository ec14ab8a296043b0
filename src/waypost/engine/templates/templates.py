"""Store templates in versions, and keep the compiled versions for rendering."""

import asyncio
import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from waypost.clock import Ids, iso
from waypost.domain.templates.link_marks import make_marks
from waypost.domain.templates.template import CompiledTemplate, TemplateSource, Variant, event_values, person_values
from waypost.domain.values.ids import public
from waypost.engine.audience.recipients import load_recipients
from waypost.errors import Conflict, Invalid, NotFound
from waypost.storage.database import Database, Tx

#: The most templates of a workspace.
MOST_TEMPLATES = 5_000
#: The most versions of a template. Each version is kept for the messages that were rendered from it.
MOST_VERSIONS = 10_000
#: The most compiled versions and contents in memory, and their approximate size in bytes.
MOST_COMPILED = 1_000
COMPILED_BYTES = 64_000_000
#: Content of up to this many characters is compiled on the event loop: it takes a millisecond or two.
COMPILED_AT_ONCE = 5_000

_encode = msgspec.json.Encoder().encode
_encode_ordered = msgspec.json.Encoder(order="deterministic").encode
_variants = msgspec.json.Decoder(list[Variant])
_contents = msgspec.json.Decoder(dict[str, Any])


class Template(msgspec.Struct, kw_only=True):
    """A template in one of its versions."""

    id: int
    name: str
    channel: str
    version: int
    current_version: int
    variants: list[Variant]
    created_at: int
    updated_at: int


class Templates:
    """A cache of compiled template versions and contents of single messages; the least recently used are dropped."""

    def __init__(self, database: Database, *, most: int = MOST_COMPILED, most_bytes: int = COMPILED_BYTES) -> None:
        self._database = database
        self._most = most
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[Any, ...], CompiledTemplate] = OrderedDict()
        self._bytes = 0
        #: What marks the links in the HTML of compiled templates. It is random, so that no value contains it.
        self.marks = make_marks(os.urandom(12).hex())
        self._under_way: dict[tuple[int, int, int], asyncio.Task[CompiledTemplate | None]] = {}

    async def get(self, workspace_id: int, template_id: int, version: int | None = None) -> CompiledTemplate:
        """Return a template of a workspace in its current or the given version.

        Raise NotFound (code `unknown_template`) if there is none.
        """
        if version is not None:
            return await self._version(workspace_id, template_id, version)
        found = await self.get_many(workspace_id, [template_id])
        if template_id not in found:
            raise _unknown(template_id)
        return found[template_id]

    async def get_many(self, workspace_id: int, template_ids: Iterable[int]) -> dict[int, CompiledTemplate]:
        """Return the current versions of the templates that exist, by id. It takes one query for any number of ids."""
        ids = sorted(set(template_ids))
        rows = await self._database.read(_current, workspace_id, ids) if ids else []
        return {id_: await self._version(workspace_id, id_, version) for id_, version in rows}

    def compile_inline(self, channel: str, fields: dict[str, Any]) -> CompiledTemplate:
        """Return the compiled content of a single message, from the cache if the same content was compiled before.

        It does not check whether the content has the fields that the channel needs. Raise Invalid (code
        `invalid_template`) if it is not valid Liquid.
        """
        key = (channel, hashlib.sha256(_encode_ordered(fields)).digest())
        compiled = self._find(key)
        if compiled is None:
            try:
                source = msgspec.convert(fields, TemplateSource)
            except msgspec.ValidationError as error:
                raise Invalid(f"The content is not valid: {error}.", code="invalid_template") from error
            compiled = CompiledTemplate(channel, [Variant(content=source)], marks=self.marks)
            self._keep(key, compiled)
        return compiled

    @property
    def kept(self) -> tuple[int, int]:
        """The number of compiled contents in the cache, and their approximate size in bytes."""
        return len(self._kept), self._bytes

    async def _version(self, workspace_id: int, template_id: int, version: int) -> CompiledTemplate:
        key = (workspace_id, template_id, version)
        compiled = self._find(key)
        if compiled is None:
            # Concurrent callers wait for the same task, so that a version is compiled once.
            task = self._under_way.get(key)
            if task is None:
                task = self._under_way[key] = asyncio.create_task(self._compile(*key))
                task.add_done_callback(lambda _: self._under_way.pop(key))
            compiled = await asyncio.shield(task)
        if compiled is None:
            raise _unknown(template_id)
        return compiled

    async def _compile(self, workspace_id: int, template_id: int, version: int) -> CompiledTemplate | None:
        row = await self._database.read(_content, workspace_id, template_id, version)
        if row is None:
            return None
        channel, content = row
        compiled = await compile_aside(
            len(content),
            lambda: CompiledTemplate(channel, _variants.decode(content), template_id, version, self.marks),
        )
        self._keep((workspace_id, template_id, version), compiled)
        return compiled

    def _find(self, key: tuple[Any, ...]) -> CompiledTemplate | None:
        compiled = self._kept.get(key)
        if compiled is not None:
            self._kept.move_to_end(key)
        return compiled

    def _keep(self, key: tuple[Any, ...], compiled: CompiledTemplate) -> None:
        before = self._kept.pop(key, None)
        self._bytes += compiled.size - (before.size if before else 0)
        self._kept[key] = compiled
        while len(self._kept) > self._most or (self._bytes > self._most_bytes and len(self._kept) > 1):
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.size


async def compile_aside(size: int, work: Callable[[], CompiledTemplate]) -> CompiledTemplate:
    """Return the result of compiling, on another thread if the size in characters would block the event loop."""
    return await asyncio.to_thread(work) if size > COMPILED_AT_ONCE else work()


def _unknown(template_id: int) -> NotFound:
    return NotFound(
        f"There is no template {public('tpl', template_id)} in this workspace; GET /v1/templates lists them.",
        code="unknown_template",
    )


async def _current(tx: Tx, workspace_id: int, ids: list[int]) -> list[tuple[Any, ...]]:
    return await tx.rows("templates.current", workspace_id=workspace_id, ids=ids)


async def _content(tx: Tx, workspace_id: int, id_: int, version: int) -> tuple[Any, ...] | None:
    return await tx.row("templates.content", workspace_id=workspace_id, id=id_, version=version)


def _read_contents(text: str) -> dict[str, Any]:
    try:
        return _contents.decode(text)
    except msgspec.DecodeError:
        # JSON has no largest number; a template sees one that is too large for a double as infinite.
        contents: dict[str, Any] = json.loads(text, parse_int=float)
        return contents


def open_template(record: dict[str, Any]) -> Template:
    """Return the template of a row of `templates.get` or `templates.list`."""
    plain = {name: value for name, value in record.items() if name != "content"}
    return Template(**plain, variants=_variants.decode(record["content"]))


def check_name(name: str) -> str:
    """Return the name without surrounding white space. Raise Invalid if it is empty."""
    if not name.strip() or "\0" in name:
        raise Invalid("A template needs a name.", code="invalid_template", field="name")
    return name.strip()


async def create_template(
    tx: Tx, ids: Ids, workspace_id: int, name: str, channel: str, variants: list[Variant], now: int
) -> Template:
    """Create a template from variants that `check_template` accepted, and return it.

    Raise Conflict (code `too_many_templates`) if the workspace has as many as it may have.
    """
    row = await tx.row("templates.count", workspace_id=workspace_id)
    if row is not None and row[0] >= MOST_TEMPLATES:
        raise Conflict(
            f"A workspace may have at most {MOST_TEMPLATES} templates; delete one first.", code="too_many_templates"
        )
    id_ = ids.one(now)
    await tx.run("templates.add", id=id_, workspace_id=workspace_id, name=name, channel=channel, now=now)
    await tx.run("templates.add_version", id=id_, version=1, content=_encode(variants).decode(), now=now)
    return await find_template(tx, workspace_id, id_)


async def find_template(tx: Tx, workspace_id: int, id_: int, version: int = 0) -> Template:
    """Return a template of a workspace in its current version (0) or another. Raise NotFound if there is none."""
    records = await tx.records("templates.get", workspace_id=workspace_id, id=id_, version=version)
    if not records:
        which = f" with a version {version}" if version else ""
        raise NotFound(f"There is no such template{which} in this workspace; it may have been deleted.")
    return open_template(records[0])


async def list_templates(tx: Tx, workspace_id: int, before: int, n: int) -> list[Template]:
    """Return the templates of a workspace, newest first."""
    records = await tx.records("templates.list", workspace_id=workspace_id, before=before, n=n)
    return [open_template(record) for record in records]


async def change_template(
    tx: Tx, workspace_id: int, template: Template, name: str, variants: list[Variant], now: int
) -> Template:
    """Change the name or content of a template, and return it. Different content becomes a new version.

    Raise Conflict if it has as many versions as it may have, or if another request changed it at the same time.
    """
    version = template.current_version
    if _encode_ordered(variants) != _encode_ordered(template.variants):
        version += 1
        if version > MOST_VERSIONS:
            raise Conflict(
                f"A template may have at most {MOST_VERSIONS} versions; create another template.",
                code="too_many_templates",
            )
    changed = await tx.run(
        "templates.change",
        workspace_id=workspace_id,
        id=template.id,
        name=name,
        version=version,
        was=template.current_version,
        now=now,
    )
    if not changed:
        raise Conflict(
            "Another request changed the template at the same time; read it again and retry.", code="template_changed"
        )
    if version != template.current_version:
        await tx.run(
            "templates.add_version", id=template.id, version=version, content=_encode(variants).decode(), now=now
        )
    return await find_template(tx, workspace_id, template.id)


async def delete_template(tx: Tx, workspace_id: int, id_: int, now: int) -> None:
    """Delete a template. Messages that were rendered from it keep their content. Raise NotFound if there is none."""
    if not await tx.run("templates.delete", workspace_id=workspace_id, id=id_, now=now):
        raise NotFound("There is no such template in this workspace; it may have been deleted.")


class Seen(msgspec.Struct):
    """The values that a template sees in addition to variables."""

    person: dict[str, Any]
    event: dict[str, Any]
    organization: dict[str, Any]


async def load_seen(tx: Tx, workspace_id: int, profile_id: int | None, event_id: int | None) -> Seen:
    """Return what a template sees of a profile, or of the one it was merged into, and of an event, if given.

    Raise NotFound with the code `unknown_profile` or `unknown_event`.
    """
    recipients = await load_recipients(tx, workspace_id, [] if profile_id is None else [profile_id], [])
    seen = Seen({}, {}, recipients.organization)
    if profile_id is not None:
        person = recipients.people.get(profile_id)
        if person is None:
            raise NotFound("There is no such profile in this workspace.", code="unknown_profile")
        seen.person = person_values(public("pro", person.id), person.traits, person.identifiers)
    if event_id is not None:
        row = await tx.row("events.get", workspace_id=workspace_id, id=event_id)
        if row is None:
            detail = "There is no such event in this workspace; it may be past its retention."
            raise NotFound(detail, code="unknown_event")
        seen.event = event_values(public("evt", event_id), iso(row[4]), _read_contents(row[5]))
    return seen
