"""The sink itself: its routes, and how it runs."""

import asyncio
import functools
from collections.abc import Callable, Mapping
from typing import Any

from waypost.errors import Error, Invalid, NotFound
from waypost.sink.behaviour import from_json
from waypost.sink.context import Context, Routes, body, number, path, query
from waypost.sink.faulty_response import Answer, json, problem, text
from waypost.sink.http_connection import Connection, Request
from waypost.sink.mail import Postbox
from waypost.sink.providers.registry import PLAYED
from waypost.sink.receivers import Hooks, hook_name
from waypost.sink.request_log import KEEP, KEEP_BYTES, Received, show
from waypost.sink.scenarios import SPECIAL

HOME = """\
Waypost sink: the outside world in a box.

ANY    /hook/NAME[?options]   a receiver; it answers 200 unless told otherwise
GET    /received?name=NAME    what came: limit, after (a cursor), id (a webhook-id)
GET    /received/count?name=  how many came, and how many different webhook-ids
DELETE /received?name=        forget, as does POST /forget?name=
PUT    /behaviour/NAME        options in JSON that hold where a URL does not say otherwise; DELETE clears them
POST   /script/NAME           a JSON list of options, one for each of the next requests; DELETE clears it
GET    /sent?provider=NAME    messages that providers took: mid, address, limit, after; /sent/count; DELETE forgets
PUT    /fate/PROVIDER         what becomes of messages: failure_rate, throttle_rate, latency, receipt_delay and more
GET    /fate                  what is set, and the phone numbers whose fate is fixed; /posts says how callbacks fare
PUT    /aws                   the played AWS account: tracker_url, access_key; /aws/projects/ID, /aws/streams/NAME
PUT    /firehose              how receipts are sent; GET shows counts; POST /firehose/records, /firehose/flush
GET    /healthz               200 while the sink runs

AWS is played at the root: give a client this address as its endpoint_url.

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
        self.world = Context(self.received)
        self.postbox = Postbox(self.hooks, self.world)
        self._players = {name: self.world.player(kind) for name, (kind, _) in PLAYED.items()}
        self._routes: dict[tuple[str, str], Callable[[Request], Answer]] = {}
        #: Routes with {pieces}, by method and how many pieces they have.
        self._shapes: dict[tuple[str, int], list[tuple[list[str], Callable[[Request], Answer]]]] = {}
        self._add(self, ROUTES_OF_SINK)
        for name, (_, routes) in PLAYED.items():
            self._add(self._players[name], routes)

    def respond(self, request: Request) -> Answer:
        """The answer to any request."""
        try:
            # Receivers first: they are what is measured.
            if request.url.startswith(b"/hook/"):
                return self.hooks.receive(request)
            return self._find(request.method, path(request))(request)
        except Error as error:
            return problem(error)

    def configure(self, settings: Mapping[str, Any], fates: Mapping[str, Any]) -> None:
        """Take a run's settings for players and for fates, each by name."""
        for name, given in settings.items():
            if name not in self._players:
                raise NotFound(f"No {name!r} is played; there are {', '.join(self._players)}.", code="unknown_provider")
            self._players[name].configure(given)
        for name, given in fates.items():
            self.world.fates.set(name, given)

    def _add(self, owner: Any, routes: Routes) -> None:
        for (method, pattern), answer in routes.items():
            bound = functools.partial(answer, owner)
            if "{" in pattern:
                shape = pattern.split("/")[1:]
                self._shapes.setdefault((method, len(shape)), []).append((shape, bound))
            else:
                self._routes[method, pattern] = bound

    def _find(self, method: str, url: str) -> Callable[[Request], Answer]:
        """What answers this path: a route for all of it, one with {pieces}, or one for all below its first piece."""
        found = self._routes.get((method, url)) or self._routes.get(("ANY", url))
        if found is not None:
            return found
        given = url.split("/")[1:]
        for kind in (method, "ANY"):
            for shape, answer in self._shapes.get((kind, len(given)), ()):
                if all(part == wanted or wanted[:1] == "{" for part, wanted in zip(given, shape, strict=True)):
                    return answer
        start = url[: url.find("/", 1) + 1]
        found = self._routes.get((method, start)) or self._routes.get(("ANY", start))
        if found is None:
            raise NotFound(f"There is no {method} {url[:200]}; GET / says what there is.")
        return found


def home(sink: Sink, request: Request) -> Answer:
    """What can be done here."""
    return text(HOME)


def healthz(sink: Sink, request: Request) -> Answer:
    """That the sink runs."""
    return json({"status": "ok"})


def list_received(sink: Sink, request: Request) -> Answer:
    """A page of what came, oldest first."""
    asked = query(request, {"name", "limit", "after", "id"})
    name = asked.get("name")
    webhook_id = asked["id"].encode() if "id" in asked else None
    records, following = sink.received.page(
        name, number(asked, "limit", 100, 1, LONGEST_PAGE), number(asked, "after", 0, 0, 1 << 63), webhook_id
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
    name = query(request, {"name"}).get("name")
    return json({"count": sink.received.count(name), "distinct": sink.received.distinct(name)})


def forget(sink: Sink, request: Request) -> Answer:
    """Forget what came."""
    sink.hooks.forget(query(request, {"name"}).get("name"))
    return json({"forgotten": True})


def put_behaviour(sink: Sink, request: Request) -> Answer:
    """Set what a name does where a URL does not say otherwise."""
    name, options = hook_name(path(request)), from_json(body(request))
    sink.hooks.set_behaviour(name, options)
    return json({"name": name, "behaviour": options})


def delete_behaviour(sink: Sink, request: Request) -> Answer:
    """Clear what was set for a name."""
    name = hook_name(path(request))
    sink.hooks.clear_behaviour(name)
    return json({"name": name, "behaviour": {}})


def add_script(sink: Sink, request: Request) -> Answer:
    """Say what the next requests for a name get, one by one."""
    name, steps = hook_name(path(request)), body(request)
    if not isinstance(steps, list):
        raise Invalid("A script is a JSON list of option objects.", code="invalid_script")
    return json({"name": name, "waiting": sink.hooks.add_steps(name, [from_json(step) for step in steps])})


def delete_script(sink: Sink, request: Request) -> Answer:
    """Drop the steps that wait for a name."""
    name = hook_name(path(request))
    sink.hooks.clear_script(name)
    return json({"name": name, "waiting": 0})


def list_sent(sink: Sink, request: Request) -> Answer:
    """A page of what the providers took, oldest first."""
    asked = query(request, {"provider", "limit", "after", "mid", "address"})
    taken = sink.world.taken
    messages, following = taken.page(
        asked.get("provider"),
        number(asked, "limit", 100, 1, LONGEST_PAGE),
        number(asked, "after", 0, 0, 1 << 63),
        asked.get("mid"),
        asked.get("address"),
    )
    return json(
        {
            "data": [taken.show(message) for message in messages],
            "next": None if following is None else str(following),
        }
    )


def count_sent(sink: Sink, request: Request) -> Answer:
    """How many messages the providers took, and how many of them more than once."""
    return json(sink.world.taken.count(query(request, {"provider"}).get("provider")))


def forget_sent(sink: Sink, request: Request) -> Answer:
    """Forget what the providers took."""
    sink.world.taken.forget(query(request, {"provider"}).get("provider"))
    return json({"forgotten": True})


def list_fates(sink: Sink, request: Request) -> Answer:
    """What is set for each provider, and which addresses have a fixed fate."""
    return json({"providers": dict(sink.world.fates.all()), "special": SPECIAL})


def get_fate(sink: Sink, request: Request) -> Answer:
    """What is set for a provider."""
    name = hook_name(path(request))
    return json({"provider": name, "fate": sink.world.fates.dice(name).settings})


def put_fate(sink: Sink, request: Request) -> Answer:
    """Begin a run: set what becomes of a provider's messages, which are counted from 1 again."""
    name = hook_name(path(request))
    return json({"provider": name, "fate": sink.world.fates.set(name, body(request))})


def delete_fate(sink: Sink, request: Request) -> Answer:
    """Begin a run in which everything goes well."""
    name = hook_name(path(request))
    return json({"provider": name, "fate": sink.world.fates.set(name, {})})


def list_posts(sink: Sink, request: Request) -> Answer:
    """How far each provider is with its callbacks."""
    return json(sink.world.posts.all_counts())


#: By method and path; a path that ends with a slash stands for all below it.
ROUTES_OF_SINK: dict[tuple[str, str], Callable[[Sink, Request], Answer]] = {
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
    ("GET", "/sent"): list_sent,
    ("GET", "/sent/count"): count_sent,
    ("DELETE", "/sent"): forget_sent,
    ("GET", "/fate"): list_fates,
    ("GET", "/fate/"): get_fate,
    ("PUT", "/fate/"): put_fate,
    ("DELETE", "/fate/"): delete_fate,
    ("GET", "/posts"): list_posts,
}
#: Those of the played providers included, which may have {pieces}.
ROUTES: dict[tuple[str, str], Callable[[Any, Request], Answer]] = {
    **ROUTES_OF_SINK,
    **{key: answer for _, routes in PLAYED.values() for key, answer in routes.items()},
}


async def serve(
    host: str,
    port: int,
    smtp_port: int | None = None,
    ready: Callable[[int, int | None], None] | None = None,
    *,
    keep: int = KEEP,
    keep_bytes: int = KEEP_BYTES,
    settings: Mapping[str, Any] | None = None,
    fates: Mapping[str, Any] | None = None,
) -> None:
    """Run the sink until cancelled; `ready` is told the ports once they can be connected to.

    Settings are by player (sink.providers), fates by provider, both as their routes take them in JSON.
    """
    loop = asyncio.get_running_loop()
    sink = Sink(keep, keep_bytes)
    sink.configure(settings or {}, fates or {})
    connections: set[Connection] = set()
    server = await loop.create_server(lambda: Connection(sink.respond, connections), host, port, backlog=4096)
    smtp: asyncio.Server | None = None
    try:
        if smtp_port is not None:
            smtp = await loop.create_server(sink.postbox.connect, host, smtp_port, backlog=4096)
        if ready is not None:
            ready(_port(server), None if smtp is None else _port(smtp))
        await loop.create_future()
    finally:
        sink.world.posts.close()
        for listening in (server, smtp):
            if listening is not None:
                listening.close()
        for connection in list(connections):
            connection.abort()
        sink.postbox.abort()
        for listening in (server, smtp):
            if listening is not None:
                await listening.wait_closed()


def _port(server: asyncio.Server) -> int:
    number: int = server.sockets[0].getsockname()[1]
    return number
