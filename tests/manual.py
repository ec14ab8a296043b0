"""What the manual says that the program knows better: blocks made from the program, put between markers.

`python -m tests.manual` writes them again; `tests/test_docs.py` fails when one is not what the program says now.
"""

import asyncio
import functools
import re
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from waypost.api.app import describe_api
from waypost.api.control.operations import Gauges
from waypost.cli import main
from waypost.domain.accounts.api_keys import Scope
from waypost.domain.accounts.permissions import ROLES, TABLE, Role, role_permissions, scope_permissions
from waypost.domain.events.event_types import SYSTEM_TYPES
from waypost.domain.values.egress_guard import FORBIDDEN_IPV4, FORBIDDEN_IPV6
from waypost.domain.webhooks.custom_headers import RESERVED_HEADERS
from waypost.domain.webhooks.delivery import JITTER, RETRIES, delay
from waypost.domain.webhooks.ledger import Balance
from waypost.engine.process import Engine
from waypost.engine.webhooks.payload_formats import shipped_formats
from waypost.settings import load_settings
from waypost.storage.sqlite import SQLite

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
BLOCK = re.compile(r"<!-- generated: (?P<name>[\w. -]+) -->\n(?P<text>.*?)<!-- end -->", re.DOTALL)
LANGUAGES = {".py": "python", ".mjs": "js", ".service": "ini"}


def pages() -> list[Path]:
    """Return every page of the documentation, including those at the root of the project."""
    return sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *EXAMPLES.glob("*.md")])


@functools.cache
def make(name: str) -> str:
    """Return the current text of a block."""
    maker, _, about = name.partition(" ")
    return MAKERS[maker](about) if about else MAKERS[maker]()


def renewed(text: str) -> str:
    """Return a page with all its blocks renewed."""
    return BLOCK.sub(lambda found: f"<!-- generated: {found['name']} -->\n{make(found['name'])}<!-- end -->", text)


@functools.cache
def routes() -> list[tuple[str, str, str, dict[str, Any]]]:
    """Return method, path, permission and OpenAPI operation of every route."""
    return [
        (method.upper(), path, _needed(operation), operation)
        for path, operations in sorted(describe_api()["paths"].items())
        for method, operation in operations.items()
    ]


def _needed(operation: dict[str, Any]) -> str:
    """What a route asks of its caller."""
    if "x-permission" in operation:
        return str(operation["x-permission"])
    schemes = {name for needed in operation["security"] for name in needed}
    if "client_secret" in schemes:
        return "text client"
    if "write_key" in schemes:
        return "events.send"
    return "nothing" if not schemes else "a session" if schemes == {"session"} else "a session or key"


def make_permissions() -> str:
    """Return what each permission is for, and which roles and scopes have it."""
    rows = []
    for row in TABLE:
        roles = [role.value for role in Role if row.name in role_permissions(role)]
        scopes = [scope.value for scope in Scope if row.name in scope_permissions([scope.value])]
        rows.append([f"`{row.name}`", row.description, ", ".join(roles), ", ".join(scopes)])
    return table(["permission", "what", "roles", "scopes of keys"], rows)


def make_roles() -> str:
    """Return the roles."""
    return table(["role", "what"], [[f"`{role.value}`", text] for role, text in ROLES.items()])


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def make_routes(tag: str) -> str:
    """Return the routes of one tag."""
    rows = []
    for method, path, needed, operation in routes():
        if operation["tags"] == [tag]:
            parameters = [f"`{p['name']}`" for p in operation.get("parameters", []) if p["in"] == "query"]
            schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            body = schema.get("$ref", "").rpartition("/")[2]
            given = ", ".join(parameters) or (f"body: {body}" if body else "")
            rows.append([f"`{method} {path}`", needed, given, operation["summary"]])
    return table(["route", "permission", "takes", "what"], rows)


@functools.cache
def schemas_of_bodies() -> dict[str, Any]:
    """Return the schemas of the OpenAPI document."""
    schemas: dict[str, Any] = describe_api()["components"]["schemas"]
    return schemas


def make_fields(name: str) -> str:
    """Return the fields of a body."""
    schemas = schemas_of_bodies()
    rows = []
    for field, schema in schemas[name]["properties"].items():
        default = "required" if field in schemas[name].get("required", ()) else _shown_default(schema)
        rows.append([f"`{field}`", _kind(schema, schemas), default, _said(schema)])
    return table(["field", "type", "default", "what"], rows)


def _shown_default(schema: dict[str, Any]) -> str:
    return f"`{msgspec.json.encode(schema['default']).decode()}`" if "default" in schema else "unchanged"


def _kind(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(choice, schemas) for choice in schema["anyOf"]))
    if "$ref" in schema:
        return _kind(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}), schemas)}"
    return str(schema.get("type", "anything"))


def _said(schema: dict[str, Any]) -> str:
    choices = [schema, *schema.get("anyOf", ())]
    said = next((choice["description"] for choice in choices if "description" in choice), "")
    longest = next((f"At most {choice['maxLength']} characters." for choice in choices if "maxLength" in choice), "")
    return f"{said} {longest}".strip()


def make_settings() -> str:
    """Return every setting, from the file with the defaults."""
    text = (ROOT / "src/waypost/settings.default.toml").read_text("utf-8")
    defaults = tomllib.loads(text)
    rows, said = [], ""
    for line in text.partition("\n\n")[2].splitlines():
        if line.startswith("#"):
            said += line.removeprefix("#")
        elif " = " in line:
            key = line.partition(" = ")[0]
            words = re.sub(r"\s*WAYPOST_\w+(, WAYPOST_\w+)*\s*$", "", said).strip()
            shown = msgspec.json.encode(defaults[key]).decode()
            rows.append([f"`{key}`", f"`WAYPOST_{key.upper()}`", f"`{shown}`", words])
        else:
            said = ""
    return table(["key", "variable", "default", "what"], rows)


def commands(group: click.Group = main, name: str = "waypost") -> dict[str, click.Command]:
    """Return every command by its full name."""
    found: dict[str, click.Command] = {name: group}
    context = click.Context(group)
    for word in sorted(group.list_commands(context)):
        command = group.get_command(context, word)
        assert command is not None
        if isinstance(command, click.Group):
            found |= commands(command, f"{name} {word}")
        else:
            found[f"{name} {word}"] = command
    return found


def make_commands() -> str:
    """Return the help of every command."""
    parts = []
    for name, command in commands().items():
        *groups, last = name.split()
        context = click.Context(main, info_name="waypost", **main.context_settings)
        if groups:
            context = click.Context(
                command, info_name=" ".join([*groups[1:], last]), parent=context, max_content_width=100
            )
        context.terminal_width = 100
        parts.append(f"## {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def make_metrics() -> str:
    """Return every metric of `/metrics`, with its kind and its help."""

    async def collect() -> list[Any]:
        with tempfile.TemporaryDirectory(prefix="waypost-docs-") as folder:
            database = SQLite(Path(folder) / "waypost.db")
            engine = Engine(database, load_settings({}, data=folder))
            try:
                return list(Gauges(engine, Balance()).collect())
            finally:
                await engine.outbound.stop()
                await database.close()

    rows = []
    for metric in asyncio.run(collect()):
        name = metric.name + ("_total" if metric.type == "counter" else "")
        labels = sorted({f"`{label}`" for sample in metric.samples for label in sample.labels})
        values = sorted({f"`{value}`" for sample in metric.samples for value in sample.labels.values()})
        said = f"{metric.documentation} {', '.join(labels)}: {', '.join(values)}." if labels else metric.documentation
        rows.append([f"`{name}`", metric.type, said])
    return table(["metric", "kind", "what"], rows)


def make_event_types() -> str:
    """Return the types of Waypost itself."""
    rows = [[f"`{entry.type}`", entry.description] for entry in SYSTEM_TYPES]
    return table(["type", "what"], rows)


def make_event_example(type_: str) -> str:
    """Return the example of an event type."""
    example = next(entry.example for entry in SYSTEM_TYPES if entry.type == type_)
    return f"```json\n{msgspec.json.format(msgspec.json.encode(example), indent=2).decode()}\n```\n"


def make_retries() -> str:
    """Return the delays between the tries of a delivery."""
    base, rows, total = load_settings({}).retry_base, [], 0
    for number in range(1, RETRIES + 1):
        seconds = delay(number, base, 0.5) // 1_000_000
        total += seconds
        rows.append([str(number), _span(seconds), _span(total)])
    worst = _span(int(total * (1 + JITTER)))
    return table(["retry", "waits", "since the first try"], rows) + (
        f"\nEvery delay is stretched or shrunk by up to {JITTER:.0%}, so the last retry comes {worst} "
        "after the first try at the latest.\n"
    )


def _span(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def make_reserved_headers() -> str:
    """Return the headers that the custom headers of an endpoint cannot replace."""
    return ", ".join(f"`{name}`" for name in sorted(RESERVED_HEADERS)) + "\n"


def make_format(name: str) -> str:
    """Return the source of a shipped format."""
    return f"```json\n{shipped_formats()[name]}```\n"


def make_addresses() -> str:
    """Return the addresses that user-supplied URLs may not reach."""
    found: dict[str, list[str]] = {}
    listed = [(str(network), reason) for network, reason in FORBIDDEN_IPV4]
    listed += [(str(network), reason) for network, reason in FORBIDDEN_IPV6]
    for network, reason in listed:
        found.setdefault(reason, []).append(f"`{network.removesuffix('/32' if '.' in network else '/128')}`")
    return table(["kind", "addresses"], [[reason, ", ".join(networks)] for reason, networks in found.items()])


def make_example(name: str) -> str:
    """Return a runnable example from `examples`."""
    file = EXAMPLES / name
    return f"```{LANGUAGES[file.suffix]}\n{file.read_text('utf-8')}```\n"


MAKERS: dict[str, Callable[..., str]] = {
    "routes": make_routes,
    "fields": make_fields,
    "settings": make_settings,
    "commands": make_commands,
    "metrics": make_metrics,
    "event-types": make_event_types,
    "event-example": make_event_example,
    "retries": make_retries,
    "reserved-headers": make_reserved_headers,
    "format": make_format,
    "addresses": make_addresses,
    "permissions": make_permissions,
    "roles": make_roles,
    "example": make_example,
}


def regenerate() -> None:
    """Renew every block of every page."""
    for page in pages():
        before = page.read_text("utf-8")
        after = renewed(before)
        if after != before:
            page.write_text(after, "utf-8")
            click.echo(f"renewed {page.relative_to(ROOT)}")


if __name__ == "__main__":
    regenerate()
