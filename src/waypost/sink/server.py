"""The sink itself: its routes, and how it runs."""

import asyncio
import weakref
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import parse_qsl

import msgspec
from aiosmtpd.smtp import SMTP

from waypost.errors import Error, Invalid, NotFound
from waypost.sink import mail
from waypost.sink.answers import Answer, json, problem, text
from waypost.sink.behaviour import from_json
from waypost.sink.hooks import Hooks, hook_name
from waypost.sink.received import KEEP, KEEP_BYTES, Received, show
from waypost.sink.wire import Connection, Request

HOME = """\
Waypost sink: the outside world in a box.

ANY    /hook/NAME[?options]   a receiver; it answers 200 unless told otherwise
GET    /received?name=NAME    what came: limit, after (a cursor), id (a webhook-id)
GET    /received/count?name=  how many came, and how many different webhook-ids
DELETE /received?name=        forget, as does POST /forget?name=
PUT    /behaviour/NAME        options in JSON that hold where a URL does not say otherwise; DELETE clears them
POST   /script/NAME           a JSON list of options, one for each of the next requests; DELETE clears it
GET    /healthz               200 while the sink runs

Options, which can be combined:
  status=500              the status of the answer
  delay=0.5               seconds before the answer
  fail_first=2            the first requests of each webhook-id (of NAME, without one) fail
  fail_rate=0.1 seed=a    a share of all requests fails, always the same ones for a seed
  fail_status=503         what failing requests get; 500 unless given
  redirect=URL            302 with this location; status chooses another 3xx
  retry_after=5           the header, in seconds or as an HTTP date
  body=TEXT content_type=text/html header=Name:Value (the last as often as you like)
  size=1000000            a body of this many bytes
  gzip_bomb=1000000000    a small gzip-encoded body that expands to this many bytes
  drip=1 drip_headers=1   seconds before each byte of the body, of the head
  hang=1                  never answer
  close=1 reset=1         close the connection instead of answering; or reset it
  truncate=1              promise more bytes than are sent
  garbage=1               answer something that is not HTTP
  close_after=1           close the connection after the answer
  record=0                count the request without keeping it

Mails, when there is an SMTP port, are listed under the name mail and obey PUT /behaviour/mail {"status": 451}.
"""
LONGEST_PAGE = 1_000


class Sink:
    """What the routes work on."""

    def __init__(self, keep: int = KEEP, keep_bytes: int = KEEP_BYTES) -> None:
        self.received = Received(keep, keep_bytes)
        self.hooks = Hooks(self.received)

    def respond(self, request: Request) -> Answer:
        """The answer to any request."""
        try:
            # Receivers first: they are what is measured.
            if request.url.startswith(b"/hook/"):
                return self.hooks.receive(request)
            return route(self, request)
        except Error as error:
            return problem(error)


Route = Callable[[Sink, Request], Answer]


def route(sink: Sink, request: Request) -> Answer:
    """The answer to a request for anything but a receiver."""
    path = _path(request)
    for pattern in (path, path[: path.find("/", 1) + 1]):
        found = ROUTES.get((request.method, pattern)) or ROUTES.get(("ANY", pattern))
        if found is not None:
            return found(sink, request)
    raise NotFound(f"There is no {request.method} {path[:200]}; GET / says what there is.")


def home(sink: Sink, request: Request) -> Answer:
    """What can be done here."""
    return text(HOME)


def healthz(sink: Sink, request: Request) -> Answer:
    """That the sink runs."""
    return json({"status": "ok"})


def list_received(sink: Sink, request: Request) -> Answer:
    """A page of what came, oldest first."""
    query = _query(request, {"name", "limit", "after", "id"})
    name = query.get("name")
    webhook_id = query["id"].encode() if "id" in query else None
    records, following = sink.received.page(
        name, _number(query, "limit", 100, 1, LONGEST_PAGE), _number(query, "after", 0, 0, 1 << 63), webhook_id
    )
    return json(
        {
            "data": [show(record) for record in records],
            "next": None if following is None else str(following),
            "count": sink.received.count(name, webhook_id),
        }
    )


def count_received(sink: Sink, request: Request) -> Answer:
    """How many came, and how many different webhook-ids."""
    name = _query(request, {"name"}).get("name")
    return json({"count": sink.received.count(name), "distinct": sink.received.distinct(name)})


def forget(sink: Sink, request: Request) -> Answer:
    """Forget what came."""
    sink.hooks.forget(_query(request, {"name"}).get("name"))
    return json({"forgotten": True})


def put_behaviour(sink: Sink, request: Request) -> Answer:
    """Set what a name does where a URL does not say otherwise."""
    name, options = hook_name(_path(request)), from_json(_body(request))
    sink.hooks.set_behaviour(name, options)
    return json({"name": name, "behaviour": options})


def delete_behaviour(sink: Sink, request: Request) -> Answer:
    """Clear what was set for a name."""
    name = hook_name(_path(request))
    sink.hooks.clear_behaviour(name)
    return json({"name": name, "behaviour": {}})


def add_script(sink: Sink, request: Request) -> Answer:
    """Say what the next requests for a name get, one by one."""
    name, steps = hook_name(_path(request)), _body(request)
    if not isinstance(steps, list):
        raise Invalid("A script is a JSON list of option objects.", code="invalid_script")
    return json({"name": name, "waiting": sink.hooks.add_steps(name, [from_json(step) for step in steps])})


def delete_script(sink: Sink, request: Request) -> Answer:
    """Drop the steps that wait for a name."""
    name = hook_name(_path(request))
    sink.hooks.clear_script(name)
    return json({"name": name, "waiting": 0})


#: By method and path; a path that ends with a slash stands for all below it. A played provider adds its own here.
ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/"): home,
    ("GET", "/healthz"): healthz,
    ("GET", "/received"): list_received,
    ("GET", "/received/count"): count_received,
    ("DELETE", "/received"): forget,
    ("POST", "/forget"): forget,
    ("PUT", "/behaviour/"): put_behaviour,
    ("DELETE", "/behaviour/"): delete_behaviour,
    ("POST", "/script/"): add_script,
    ("DELETE", "/script/"): delete_script,
}


async def serve(
    host: str,
    port: int,
    smtp_port: int | None = None,
    ready: Callable[[int, int | None], None] | None = None,
    *,
    keep: int = KEEP,
    keep_bytes: int = KEEP_BYTES,
) -> None:
    """Run the sink until cancelled; `ready` is told the ports once they can be connected to."""
    loop = asyncio.get_running_loop()
    sink = Sink(keep, keep_bytes)
    connections: set[Connection] = set()
    mailers: weakref.WeakSet[SMTP] = weakref.WeakSet()
    server = await loop.create_server(lambda: Connection(sink.respond, connections), host, port, backlog=4096)
    smtp: asyncio.Server | None = None
    try:
        if smtp_port is not None:
            smtp = await loop.create_server(lambda: mail.connection(sink.hooks, mailers), host, smtp_port)
        if ready is not None:
            ready(_port(server), None if smtp is None else _port(smtp))
        await loop.create_future()
    finally:
        for listening in (server, smtp):
            if listening is not None:
                listening.close()
        for connection in list(connections):
            connection.abort()
        for mailer in mailers:
            if mailer.transport is not None:
                cast(asyncio.Transport, mailer.transport).abort()
        for listening in (server, smtp):
            if listening is not None:
                await listening.wait_closed()


def _port(server: asyncio.Server) -> int:
    number: int = server.sockets[0].getsockname()[1]
    return number


def _path(request: Request) -> str:
    return request.url.partition(b"?")[0].decode("latin-1")


def _query(request: Request, known: set[str]) -> Mapping[str, str]:
    """The query, in which every name is known and stands once."""
    pairs = parse_qsl(request.url.partition(b"?")[2].decode("latin-1"), keep_blank_values=True)
    query = dict(pairs)
    if len(query) < len(pairs) or not query.keys() <= known:
        raise Invalid(f"The query may have {', '.join(sorted(known))}, each once.", code="invalid_query")
    return query


def _number(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    given = query.get(name, "")
    if name not in query:
        return default
    if not given.isascii() or not given.isdigit() or not least <= int(given[:20]) <= most:
        raise Invalid(f"{name} is a number from {least} to {most}.", code="invalid_query")
    return int(given)


def _body(request: Request) -> Any:
    try:
        return msgspec.json.decode(request.body)
    except msgspec.DecodeError as error:
        raise Invalid(f"The body is not JSON: {error}.", code="invalid_json") from error
