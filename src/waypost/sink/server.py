"""The HTTP server of the sink and its own routes."""

import asyncio
import functools
from collections.abc import Callable, Mapping
from typing import Any

from waypost.errors import Error, Invalid, NotFound
from waypost.sink.behaviour import from_json
from waypost.sink.context import Context, Routes, body, number, path, query
from waypost.sink.faulty_response import Response, json, problem, text
from waypost.sink.http_connection import Connection, Request
from waypost.sink.mail import SmtpServer
from waypost.sink.providers.registry import PROVIDERS
from waypost.sink.receivers import Receivers, hook_name
from waypost.sink.request_log import KEEP, KEEP_BYTES, RequestLog, show
from waypost.sink.scenarios import SPECIAL

HOME = """\
Waypost sink: a simulator of webhook receivers and message providers.

ANY    /hook/NAME[?options]   a receiver; it responds with 200 by default
GET    /received?name=NAME    received requests: limit, after (a cursor), id (a webhook-id)
GET    /received/count?name=  the number of received requests, and of distinct webhook-ids
DELETE /received?name=        delete received requests; POST /forget?name= does the same
PUT    /behaviour/NAME        default options in JSON, which those of a URL override; DELETE clears them
POST   /script/NAME           a JSON list of options, one for each of the next requests; DELETE clears it
GET    /sent?provider=NAME    messages that providers accepted: mid, address, limit, after; /sent/count; DELETE
PUT    /fate/PROVIDER         results of messages: failure_rate, throttle_rate, latency, receipt_delay and more
GET    /fate                  the settings, and the phone numbers with a fixed result; /posts counts callbacks
PUT    /aws                   the simulated AWS account: tracker_url, access_key; /aws/projects/ID, /aws/streams/NAME
GET    /klaviyo/events        the stored Klaviyo events: metric, profile, limit, after
POST   /klaviyo-flow/run      send a webhook for each of a list of profiles, as a flow does; /klaviyo-flow/runs/ID
PUT    /firehose              how receipts are sent; GET shows counts; POST /firehose/records, /firehose/flush
GET    /healthz               200 while the sink runs

The AWS API is at the root: give a client this address as its endpoint_url.

Options, which can be combined:
  status=500              the status of the response
  delay=0.5               seconds before the response
  fail_first=2            the first requests of each webhook-id (of NAME, without one) fail
  fail_rate=0.1 seed=a    a share of all requests fails, always the same ones for a seed
  fail_status=503         the status of failing requests; 500 by default
  redirect=URL            302 with this location; set status for another 3xx
  retry_after=5           the header, in seconds or as an HTTP date
  body=TEXT content_type=text/html header=Name:Value (header may be repeated)
  size=1000000            a body of this many bytes
  gzip_bomb=1000000000    a small gzip-encoded body that expands to this many bytes
  drip=1 drip_headers=1   seconds before each byte of the body, of the head
  hang=1                  never respond
  close=1 reset=1         close the connection without a response; or reset it
  truncate=1              announce more bytes than are sent
  garbage=1               respond with something that is not HTTP
  close_after=1           close the connection after the response
  record=0                count the request, but do not store it

If the sink has an SMTP port, emails are listed under the name mail; PUT /behaviour/mail {"status": 451} applies to
them.
"""
LONGEST_PAGE = 1_000


class Sink:
    """The state of a sink, and the dispatch of requests to routes."""

    def __init__(self, keep: int = KEEP, keep_bytes: int = KEEP_BYTES) -> None:
        self.request_log = RequestLog(keep, keep_bytes)
        self.receivers = Receivers(self.request_log)
        self.context = Context(self.request_log)
        self.smtp_server = SmtpServer(self.receivers, self.context)
        self._providers = {name: self.context.provider(kind) for name, (kind, _) in PROVIDERS.items()}
        self._routes: dict[tuple[str, str], Callable[[Request], Response]] = {}
        #: Routes with {pieces}, by method and number of pieces.
        self._shapes: dict[tuple[str, int], list[tuple[list[str], Callable[[Request], Response]]]] = {}
        self._add(self, ROUTES_OF_SINK)
        for name, (_, routes) in PROVIDERS.items():
            self._add(self._providers[name], routes)

    def respond(self, request: Request) -> Response:
        """Return the response to a request."""
        try:
            # Receivers first: benchmarks measure them.
            if request.url.startswith(b"/hook/"):
                return self.receivers.receive(request)
            return self._find(request.method, path(request))(request)
        except Error as error:
            return problem(error)

    def configure(self, settings: Mapping[str, Any], scenarios: Mapping[str, Any]) -> None:
        """Apply settings and scenarios, each by provider name."""
        for name, given in settings.items():
            if name not in self._providers:
                raise NotFound(
                    f"Unknown provider {name!r}; the sink simulates {', '.join(self._providers)}.",
                    code="unknown_provider",
                )
            self._providers[name].configure(given)
        for name, given in scenarios.items():
            self.context.scenarios.set(name, given)

    def _add(self, owner: Any, routes: Routes) -> None:
        for (method, pattern), answer in routes.items():
            bound = functools.partial(answer, owner)
            if "{" in pattern:
                shape = pattern.split("/")[1:]
                self._shapes.setdefault((method, len(shape)), []).append((shape, bound))
            else:
                self._routes[method, pattern] = bound

    def _find(self, method: str, url: str) -> Callable[[Request], Response]:
        """Return the handler of a path: an exact route, one with {pieces}, or one for all below its first piece."""
        found = self._routes.get((method, url)) or self._routes.get(("ANY", url))
        if found is not None:
            return found
        given = url.split("/")[1:]
        for kind in (method, "ANY"):
            for shape, answer in self._shapes.get((kind, len(given)), ()):
                if all(part == piece or piece[:1] == "{" for part, piece in zip(given, shape, strict=True)):
                    return answer
        start = url[: url.find("/", 1) + 1]
        found = self._routes.get((method, start)) or self._routes.get(("ANY", start))
        if found is None:
            raise NotFound(f"The route {method} {url[:200]} does not exist. GET / lists all routes.")
        return found


def home(sink: Sink, request: Request) -> Response:
    """Return the help text."""
    return text(HOME)


def healthz(sink: Sink, request: Request) -> Response:
    """Return that the sink runs."""
    return json({"status": "ok"})


def list_received(sink: Sink, request: Request) -> Response:
    """Return a page of received requests, oldest first."""
    parameters = query(request, {"name", "limit", "after", "id"})
    name = parameters.get("name")
    webhook_id = parameters["id"].encode() if "id" in parameters else None
    records, following = sink.request_log.page(
        name, number(parameters, "limit", 100, 1, LONGEST_PAGE), number(parameters, "after", 0, 0, 1 << 63), webhook_id
    )
    return json(
        {
            "data": [show(record) for record in records],
            "next": None if following is None else str(following),
            "count": sink.request_log.count(name, webhook_id),
        }
    )


def count_received(sink: Sink, request: Request) -> Response:
    """Return the number of received requests and of distinct webhook-ids."""
    name = query(request, {"name"}).get("name")
    return json({"count": sink.request_log.count(name), "distinct": sink.request_log.distinct(name)})


def forget(sink: Sink, request: Request) -> Response:
    """Delete received requests."""
    sink.receivers.forget(query(request, {"name"}).get("name"))
    return json({"forgotten": True})


def put_behaviour(sink: Sink, request: Request) -> Response:
    """Set the behaviour of a name; the options of a URL override it."""
    name, options = hook_name(path(request)), from_json(body(request))
    sink.receivers.set_behaviour(name, options)
    return json({"name": name, "behaviour": options})


def delete_behaviour(sink: Sink, request: Request) -> Response:
    """Reset the behaviour of a name."""
    name = hook_name(path(request))
    sink.receivers.clear_behaviour(name)
    return json({"name": name, "behaviour": {}})


def add_script(sink: Sink, request: Request) -> Response:
    """Set the behaviours of the next requests for a name."""
    name, steps = hook_name(path(request)), body(request)
    if not isinstance(steps, list):
        raise Invalid("A script must be a JSON list of option objects.", code="invalid_script")
    return json({"name": name, "waiting": sink.receivers.add_steps(name, [from_json(step) for step in steps])})


def delete_script(sink: Sink, request: Request) -> Response:
    """Delete the waiting steps of a name."""
    name = hook_name(path(request))
    sink.receivers.clear_script(name)
    return json({"name": name, "waiting": 0})


def list_sent(sink: Sink, request: Request) -> Response:
    """Return a page of messages that providers accepted, oldest first."""
    parameters = query(request, {"provider", "limit", "after", "mid", "address"})
    sent_log = sink.context.sent_log
    messages, following = sent_log.page(
        parameters.get("provider"),
        number(parameters, "limit", 100, 1, LONGEST_PAGE),
        number(parameters, "after", 0, 0, 1 << 63),
        parameters.get("mid"),
        parameters.get("address"),
    )
    return json(
        {
            "data": [sent_log.show(message) for message in messages],
            "next": None if following is None else str(following),
        }
    )


def count_sent(sink: Sink, request: Request) -> Response:
    """Return how many messages providers accepted, and how many of them more than once."""
    return json(sink.context.sent_log.count(query(request, {"provider"}).get("provider")))


def forget_sent(sink: Sink, request: Request) -> Response:
    """Delete the accepted messages."""
    sink.context.sent_log.forget(query(request, {"provider"}).get("provider"))
    return json({"forgotten": True})


def list_scenarios(sink: Sink, request: Request) -> Response:
    """Return the settings of each provider, and the phone numbers with a fixed scenario."""
    return json({"providers": dict(sink.context.scenarios.all()), "special": SPECIAL})


def get_scenario(sink: Sink, request: Request) -> Response:
    """Return the scenario settings of a provider."""
    name = hook_name(path(request))
    return json({"provider": name, "fate": sink.context.scenarios.dice(name).settings})


def put_scenario(sink: Sink, request: Request) -> Response:
    """Set the scenarios of a provider, and count its messages from 1 again."""
    name = hook_name(path(request))
    return json({"provider": name, "fate": sink.context.scenarios.set(name, body(request))})


def delete_scenario(sink: Sink, request: Request) -> Response:
    """Reset a provider to success for every message."""
    name = hook_name(path(request))
    return json({"provider": name, "fate": sink.context.scenarios.set(name, {})})


def list_callbacks(sink: Sink, request: Request) -> Response:
    """Return the callback counts of each provider."""
    return json(sink.context.callbacks.all_counts())


#: Handlers by method and path; a path that ends with a slash matches everything below it.
ROUTES_OF_SINK: dict[tuple[str, str], Callable[[Sink, Request], Response]] = {
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
    ("GET", "/fate"): list_scenarios,
    ("GET", "/fate/"): get_scenario,
    ("PUT", "/fate/"): put_scenario,
    ("DELETE", "/fate/"): delete_scenario,
    ("GET", "/posts"): list_callbacks,
}
#: Including the routes of the simulated providers, which may have {pieces}.
ROUTES: dict[tuple[str, str], Callable[[Any, Request], Response]] = {
    **ROUTES_OF_SINK,
    **{key: answer for _, routes in PROVIDERS.values() for key, answer in routes.items()},
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
    scenarios: Mapping[str, Any] | None = None,
) -> None:
    """Run the sink until cancelled; call `ready` with the ports once they accept connections.

    `settings` and `scenarios` are by provider, in the JSON format of their routes.
    """
    loop = asyncio.get_running_loop()
    sink = Sink(keep, keep_bytes)
    sink.configure(settings or {}, scenarios or {})
    connections: set[Connection] = set()
    server = await loop.create_server(lambda: Connection(sink.respond, connections), host, port, backlog=4096)
    smtp: asyncio.Server | None = None
    try:
        if smtp_port is not None:
            smtp = await loop.create_server(sink.smtp_server.connect, host, smtp_port, backlog=4096)
        if ready is not None:
            ready(_port(server), None if smtp is None else _port(smtp))
        await loop.create_future()
    finally:
        sink.context.callbacks.close()
        for listening in (server, smtp):
            if listening is not None:
                listening.close()
        for connection in list(connections):
            connection.abort()
        sink.smtp_server.abort()
        for listening in (server, smtp):
            if listening is not None:
                await listening.wait_closed()


def _port(server: asyncio.Server) -> int:
    number: int = server.sockets[0].getsockname()[1]
    return number
