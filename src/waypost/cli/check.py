"""`waypost check`: verify the settings, database, ledger, deliveries, connections, secrets, messages and audiences."""

import sys
from collections.abc import Awaitable, Callable

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from waypost.cli.accounts import print_json
from waypost.cli.ledger import balances
from waypost.cli.options import data_option, json_option
from waypost.clock import DAY, SECOND, iso, now_us
from waypost.domain.values.egress_guard import parse_networks
from waypost.domain.values.ids import public
from waypost.domain.webhooks.ledger import Balance, disagreements
from waypost.engine.campaigns.counts import count_statuses
from waypost.engine.messaging.unowned import UNOWNED_S
from waypost.engine.providers.connectors import find_connector
from waypost.engine.runtime.encryption import (
    Encryption,
    has_secret_key,
    open_encryption,
    require_secret_key,
)
from waypost.engine.runtime.nodes import DEAD_AFTER
from waypost.errors import Error
from waypost.settings import Settings, load_settings
from waypost.storage.data_directory import open_to_others
from waypost.storage.database import Database, Row, Tx
from waypost.storage.open import open_database

#: Rows read by one query.
STEP = 500
#: A pending delivery that was due this long ago is overdue, and so is a message that has been in sending for this long.
OVERDUE = 10 * 60 * SECOND
#: How long live processes may take to recover the messages that a dead process was sending, also under a number that it
#: had lost before; they look from time to time.
TAKEOVER = DEAD_AFTER + int(UNOWNED_S * SECOND) + 30 * SECOND
#: Campaigns that ended longer ago are not counted again.
RECENT = 7 * DAY
#: How many errors of one kind are listed.
NAMED = 5


class Found(msgspec.Struct):
    """The result of a step that found no error."""

    detail: str
    #: Whether an operator should review it.
    warning: bool = False


class Sheet:
    """The steps of a check with their results, printed as they finish."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(quiet=as_json)
        self._found: list[dict[str, object]] = []

    async def step(self, name: str, work: Callable[[], Awaitable[Found]]) -> bool:
        """Run one step; return whether it found no error."""
        try:
            found, sound = await work(), True
        except Error as error:
            found, sound = Found(error.detail), False
        self._found.append({"check": name, "ok": sound, "warning": found.warning, "detail": found.detail})
        mark = (
            "[red]failed[/red] "
            if not sound
            else "[yellow]warning[/yellow]"
            if found.warning
            else "[green]ok[/green]     "
        )
        self._console.print(f"{mark} {name}: {escape(found.detail)}", highlight=False, soft_wrap=True)
        return sound

    def finish(self) -> None:
        """Print the results if JSON is requested; exit with 1 if there was an error."""
        sound = all(part["ok"] for part in self._found)
        if self._as_json:
            print_json({"ok": sound, "checks": self._found})
        if not sound:
            sys.exit(1)


@click.command()
@data_option
@json_option
async def check(data: str | None, as_json: bool) -> None:
    """Check settings, files, database, ledger, deliveries, connections, secrets, messages, campaigns and segments."""
    sheet = Sheet(as_json)
    settings = load_settings(data=data)
    if not await sheet.step("settings", lambda: _settings(settings)):
        # Nothing else can be checked without valid settings.
        sheet.finish()
    # Before the database is opened, because that corrects the permissions of its files.
    await sheet.step("files", lambda: _files(settings))
    opened: list[Database] = []

    async def database_opens() -> Found:
        opened.append(open_database(settings))
        return Found("opened")

    if not await sheet.step("store", database_opens):
        sheet.finish()
    database = opened[0]
    try:
        if await sheet.step("migrations", lambda: _migrations(database)):
            await sheet.step("database", lambda: _database(database))
            await sheet.step("ledger", lambda: _ledger(database))
            await sheet.step("deliveries", lambda: _deliveries(database))
            await sheet.step("connections", lambda: _connections(database))
            await sheet.step("secrets", lambda: _secrets(database, settings))
            await sheet.step("messages", lambda: _messages(database))
            await sheet.step("campaigns", lambda: _campaigns(database))
            await sheet.step("segments", lambda: _segments(database))
    finally:
        await database.close()
    sheet.finish()


async def _settings(settings: Settings) -> Found:
    parse_networks(settings.allow_private)
    if has_secret_key(settings.secret_key, settings.data_dir):
        open_encryption(settings.secret_key, settings.data_dir)
    return Found(f"data in {settings.data_dir}, {'PostgreSQL' if settings.database_url else 'SQLite'}")


async def _files(settings: Settings) -> Found:
    """Check that other users of the machine cannot read the data directory, which contains personal data and keys."""
    if found := open_to_others(settings.data_dir):
        paths = _few([str(path) for path in found])
        return Found(
            f"other users of this machine may read or change {paths}. "
            "Run `chmod 700` on the folder and `chmod 600` on the files, as the user that the server runs as.",
            warning=True,
        )
    return Found("closed to other users of this machine")


async def _migrations(database: Database) -> Found:
    pending = await database.pending_migrations()
    if pending:
        raise Error(f"pending migrations: {', '.join(pending)}. Run `waypost migrate`.")
    return Found("up to date")


async def _database(database: Database) -> Found:
    await database.check()
    return Found("intact, and every query can be prepared")


async def _ledger(database: Database) -> Found:
    rows, raw = await database.read(_ledger_and_rows)
    counted = {endpoint: balance for _, endpoint, balance in rows}
    found = disagreements(counted, raw, {endpoint: public("whk", endpoint) for endpoint in counted})
    if found:
        raise Error("; ".join(found))
    total = sum(counted.values(), Balance())
    return Found(
        f"{total.accepted} accepted = {total.delivered} delivered + {total.pending} pending + {total.dead} dead"
    )


async def _ledger_and_rows(tx: Tx) -> tuple[list[tuple[int, int, Balance]], list[tuple[int, str, int]]]:
    rows = await tx.rows("deliveries.counts")
    return await balances(tx), [(endpoint, state, count) for endpoint, state, count in rows]


async def _deliveries(database: Database) -> Found:
    """Check that no delivery is overdue, whether it waits for its endpoint or a process holds it."""
    now = now_us()
    rows, unseen = await database.read(_overdue, now - OVERDUE)
    if not rows:
        return Found("none is overdue")
    overdue, held, lost = sum(row[2] for row in rows), 0, 0
    oldest = min(row[3] for row in rows)
    for _, node, count, _ in rows:
        if node is not None:
            held += count
            lost += count if unseen.get(node, TAKEOVER + 1) > TAKEOVER else 0
    alive = any(age <= DEAD_AFTER for age in unseen.values())
    text = (
        f"{overdue} deliveries were due more than {OVERDUE // SECOND // 60} minutes ago, the oldest at {iso(oldest)}; "
        f"{held} of them are held by a process. By endpoint: "
        + _few([f"{public('whk', endpoint)} {count}" for endpoint, count in _by_endpoint(rows)])
    )
    if lost and alive:
        raise Error(
            f"{text}. {lost} are held by dead processes, and no live process has released them. "
            "Look for job_failed in the logs of the live processes."
        )
    return Found(text, warning=True)


def _by_endpoint(rows: list[Row]) -> list[tuple[int, int]]:
    counts: dict[int, int] = {}
    for endpoint, _, count, _ in rows:
        counts[endpoint] = counts.get(endpoint, 0) + count
    return sorted(counts.items(), key=lambda found: -found[1])


async def _overdue(tx: Tx, before: int) -> tuple[list[Row], dict[int, int]]:
    """Return the overdue deliveries by endpoint and process, and the time since each process was seen."""
    return (
        await tx.rows("checks.overdue", before=before),
        {row[0]: row[2] for row in await tx.rows("nodes.list")},
    )


async def _connections(database: Database) -> Found:
    """Check that every connection has a valid connector, and list paused connections."""
    rows, wrong = await database.read(_connections_and_wrong)
    if wrong:
        raise Error(_few(wrong))
    paused = [f"{name} ({public('con', id_)})" for id_, _, name, _, status in rows if status == "paused"]
    if paused:
        return Found(
            f"{len(paused)} of {len(rows)} are paused until an operator fixes them: {_few(paused)}", warning=True
        )
    return Found(f"{len(rows)}, each with a valid connector")


async def _connections_and_wrong(tx: Tx) -> tuple[list[Row], list[str]]:
    rows = await tx.rows("checks.connections")
    unreadable: dict[tuple[int, str], str] = {}
    for workspace_id, connector in sorted({(row[1], row[3]) for row in rows}):
        try:
            await find_connector(tx, workspace_id, connector)
        except Error as error:
            unreadable[(workspace_id, connector)] = error.detail
    return rows, [
        f"{name} ({public('con', id_)}): {unreadable[(workspace_id, connector)]}"
        for id_, workspace_id, name, connector, _ in rows
        if (workspace_id, connector) in unreadable
    ]


async def _secrets(database: Database, settings: Settings) -> Found:
    """Check that the available keys decrypt everything that is encrypted."""
    await require_secret_key(database, settings.secret_key, settings.data_dir)
    if not has_secret_key(settings.secret_key, settings.data_dir):
        return Found("none is stored; the first start creates the key")
    encryption = open_encryption(settings.secret_key, settings.data_dir)
    seen, wrong = 0, []
    for kind, prefix, query, names, width, start in _ENCRYPTED:
        after: Row | None = start
        while after is not None:
            rows = await database.read(_rows, query, dict(zip(names, after, strict=True)))
            for row in rows:
                seen += 1
                if not _decrypts(encryption, row[width:]):
                    wrong.append(f"{kind} {public(prefix, row[0])}")
            after = tuple(rows[-1][:width]) if len(rows) == STEP else None
    if wrong:
        raise Error(
            f"{len(wrong)} of {seen} rows cannot be decrypted: {_few(wrong)}. "
            "They were encrypted with another key. Add that key to WAYPOST_SECRET_KEY."
        )
    return Found(f"all {seen} rows can be decrypted")


#: The encrypted tables: name of a row, prefix of its id, query, the parameters of the page's start, the number of key
#: columns before the encrypted ones, and the start of the first page.
_ENCRYPTED: tuple[tuple[str, str, str, tuple[str, ...], int, Row], ...] = (
    ("connection", "con", "connections.encrypted", ("after",), 1, (-1,)),
    ("endpoint", "whk", "endpoints.encrypted", ("after",), 1, (-1,)),
    ("a stored response of", "ws", "idempotency.encrypted", ("workspace_id", "key"), 2, (-1, "")),
)


async def _rows(tx: Tx, query: str, values: dict[str, object]) -> list[Row]:
    return await tx.rows(query, **values, n=STEP)


def _decrypts(encryption: Encryption, encrypted: Row) -> bool:
    try:
        for text in encrypted:
            encryption.decrypt(text)
    except Error:
        return False
    return True


async def _messages(database: Database) -> Found:
    """Check that no message is stuck with a dead process while others live; count overdue and unknown messages."""
    now = now_us()
    sending, unseen, alive, unknown = await database.read(_sending, now - OVERDUE)
    live = orphaned = stuck = overdue = 0
    for node, count, since, late in sending:
        age = unseen.get(node)
        if age is not None and age <= DEAD_AFTER:
            live += count
            overdue += late
        elif alive and (now - since if age is None else age) > TAKEOVER:
            stuck += count
        else:
            orphaned += count
    if stuck:
        raise Error(
            f"{stuck} messages are held by dead processes, and no live process has recovered them. "
            "Look for job_failed in the logs of the live processes."
        )
    parts = [f"{live} being sent"]
    if overdue:
        parts.append(f"{overdue} of them for more than {OVERDUE // SECOND // 60} minutes, longer than any call takes")
    if orphaned:
        parts.append(
            f"{orphaned} were being sent when a process died: the other processes, or the next start, will recover them"
        )
    if unknown:
        parts.append(f"{unknown} with an unknown result: GET /v1/messages?status=unknown lists them")
    return Found(", ".join(parts), warning=bool(overdue or orphaned or unknown))


async def _sending(tx: Tx, before: int) -> tuple[list[Row], dict[int, int], bool, int]:
    """Return what each process sends, when each was seen, whether any is live, and how many messages are unknown."""
    live = await tx.row("nodes.live", within=DEAD_AFTER)
    unknown = await tx.row("checks.unknown")
    return (
        await tx.rows("checks.sending", before=before),
        {row[0]: row[2] for row in await tx.rows("nodes.list")},
        bool(live and live[0]),
        unknown[0] if unknown else 0,
    )


async def _campaigns(database: Database) -> Found:
    """Check that the counts of campaigns agree with their recipients, and find parts that nobody hands over."""
    now = now_us()
    found, counted, overdue, oldest = await database.read(_recipients, now)
    wrong = [
        f"{public('occ', id_)} counts {counted.get(id_, {})} and has {statuses}"
        for id_, statuses in sorted(found.items())
        if {name: n for name, n in counted.get(id_, {}).items() if n} != statuses
    ]
    if wrong:
        raise Error(_few(wrong))
    text = f"{sum(sum(statuses.values()) for statuses in found.values())} recipients as counted"
    if overdue:
        minutes = (now - (oldest or now)) // SECOND // 60
        text += f"; {overdue} parts of live campaigns wait for their turn, the first for {minutes} minutes"
    return Found(text)


async def _recipients(tx: Tx, now: int) -> tuple[dict[int, dict[str, int]], dict[int, dict[str, int]], int, int | None]:
    """Return the recipients by occurrence and status, as they are and as they are counted; and the parts that wait."""
    found: dict[int, dict[str, int]] = {}
    for occurrence_id, status, n in await tx.rows("checks.recipients", since=now - RECENT):
        found.setdefault(occurrence_id, {})[status] = n
    parts = await tx.row("checks.parts", before=now - OVERDUE) or (0, None)
    return found, await count_statuses(tx, sorted(found)), parts[0], parts[1]


async def _segments(database: Database) -> Found:
    """Check that evaluations of everybody, indexes of traits, and what time changes are not stuck."""
    now = now_us()
    (segments, filling, filled_at), (indexes, growing, grown_at), due_at, alive = await database.read(_following)
    late = [
        f"{what} for {(now - since) // SECOND // 60} minutes"
        for what, since in (
            (f"the evaluation of everybody for {filling} segments stands still", filled_at),
            (f"{growing} indexes of traits stand still", grown_at),
            ("people whose membership time may have changed wait", due_at),
        )
        if since is not None and since < now - OVERDUE
    ]
    if late and alive:
        raise Error(f"{'; '.join(late)}. Look for job_failed in the logs of the live processes.")
    text = (
        f"{segments} tracked, {filling} being evaluated for everybody; {indexes} indexes of traits, {growing} changing"
    )
    return Found("; ".join([text, *late]) + (": the next start goes on" if late else ""))


async def _following(tx: Tx) -> tuple[Row, Row, int | None, bool]:
    """Return how segments and indexes of traits stand, when the next person is due, and whether a process is live."""
    due = await tx.row("segment_rechecks.next")
    live = await tx.row("nodes.live", within=DEAD_AFTER)
    return (
        await tx.row("checks.segments") or (0, 0, None),
        await tx.row("checks.trait_indexes") or (0, 0, None),
        due[0] if due else None,
        bool(live and live[0]),
    )


def _few(texts: list[str]) -> str:
    rest = len(texts) - NAMED
    return "; ".join(texts[:NAMED]) + (f"; and {rest} more" if rest > 0 else "")
