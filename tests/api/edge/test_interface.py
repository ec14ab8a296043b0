"""The web interface: built files from memory, the page for every address of it, and none of the API's paths."""

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.calling import Keys, refused, serve
from waypost.api.app import ROUTES
from waypost.api.edge.asgi import HttpScope, Receive, Send, answer
from waypost.api.edge.interface import API_PATHS, InterfaceRoute
from waypost.engine.process import Engine

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
SCRIPT = b"console.log('Waypost');" * 50
PAGE = b'<!doctype html><meta property="csp-nonce" nonce="waypost-nonce"><script src="/assets/a-1b2c.js"></script>'


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder as the build leaves it."""
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_bytes(PAGE)
    (folder / "theme.js").write_bytes(b"1")
    (folder / "mail-frame.html").write_bytes(b"<!doctype html>")
    (folder / "mail-frame-images.html").write_bytes(b"<!doctype html>")
    (folder / "manifest.json").write_bytes(b"{}")
    (folder / ".built").write_bytes(b"1")
    (folder / "assets" / "a-1b2c.js").write_bytes(SCRIPT)
    (folder / "assets" / "a-1b2c.js.gz").write_bytes(gzip.compress(SCRIPT))
    (folder / "assets" / "a-1b2c.js.br").write_bytes(b"brotli")
    return folder


def browser(folder: Path) -> httpx.AsyncClient:
    """Return a client of the route with an API behind it that has nothing."""
    route = InterfaceRoute(folder)

    async def app(scope: HttpScope, receive: Receive, send: Send) -> None:
        if not await route(scope, receive, send):
            await answer(send, 404, [(b"content-type", b"application/problem+json")], b"{}")

    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://waypost")


@pytest.fixture
async def client(built: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(built) as found:
        yield found


@pytest.mark.parametrize("path", ["/", "/people", "/webhooks/whk_1?tab=attempts", "/sign-in", "/no-such-page"])
async def test_every_address_of_the_interface_is_the_page(client: httpx.AsyncClient, path: str):
    response = await client.get(path, headers=HTML)
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-cache")
    assert '<script src="/assets/a-1b2c.js">' in response.text


async def test_the_policy_of_the_page_is_strict_and_its_number_is_new_each_time(client: httpx.AsyncClient):
    seen = set()
    for _ in range(3):
        response = await client.get("/", headers=HTML)
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "frame-ancestors 'none'" in policy
        found = re.search(r'nonce="([\w-]+)"', response.text)
        assert found is not None
        assert f"style-src 'self' 'nonce-{found[1]}'" in policy
        seen.add(found[1])
    assert len(seen) == 3
    assert response.headers["cross-origin-opener-policy"] == "same-origin"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "same-origin"


async def test_files_with_a_hash_are_kept_and_others_asked_for_again(client: httpx.AsyncClient):
    script = await client.get("/assets/a-1b2c.js", headers={"accept-encoding": "identity"})
    assert (script.content, script.headers["content-type"]) == (SCRIPT, "text/javascript")
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    theme = await client.get("/theme.js")
    assert theme.headers["cache-control"] == "no-cache"
    again = await client.get("/theme.js", headers={"if-none-match": theme.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br", "br"),
        ("gzip;q=1.0, deflate", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("identity", None),
        ("", None),
    ],
)
async def test_files_come_in_the_smallest_encoding_that_is_accepted(built: Path, accepted: str, encoding: str | None):
    async with browser(built) as client:
        request = client.build_request("HEAD", "/assets/a-1b2c.js", headers={"accept-encoding": accepted})
        response = await client.send(request)
    assert response.headers.get("content-encoding") == encoding
    assert response.headers["vary"] == "accept-encoding"
    sizes = {"br": 6, "gzip": (built / "assets" / "a-1b2c.js.gz").stat().st_size, None: len(SCRIPT)}
    assert int(response.headers["content-length"]) == sizes[encoding]
    assert response.content == b""


@pytest.mark.parametrize(
    ("path", "images"), [("/mail-frame.html", "data:"), ("/mail-frame-images.html", "data: https: http:")]
)
async def test_a_mail_is_shown_in_a_frame_that_runs_nothing_of_it(client: httpx.AsyncClient, path: str, images: str):
    response = await client.get(path, headers=HTML)
    policy = response.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "sandbox allow-scripts", "frame-ancestors 'self'"} <= set(policy)
    assert [part.strip() for part in policy if part.startswith("img-src")] == [f"img-src {images}"]
    assert response.headers["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/people", HTML),
        ("/healthz", HTML),
        ("/assets/gone.js", HTML),
        ("/people", {"accept": "application/json"}),
        ("/manifest.json", {"accept": "*/*"}),
        ("/.built", {"accept": "*/*"}),
        ("/assets/a-1b2c.js.gz", {"accept": "*/*"}),
        ("/../pyproject.toml", {"accept": "*/*"}),
    ],
)
async def test_everything_else_is_left_to_the_api(client: httpx.AsyncClient, path: str, headers: dict[str, str]):
    response = await client.get(path, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


async def test_only_get_and_head_are_served(client: httpx.AsyncClient):
    assert (await client.post("/people", headers=HTML)).status_code == 404


async def test_without_built_files_the_page_says_how_to_build_them(tmp_path: Path):
    async with browser(tmp_path) as client:
        response = await client.get("/", headers=HTML)
        other = await client.get("/people", headers=HTML)
    assert (response.status_code, other.status_code) == (200, 404)
    assert "make web" in response.text
    assert "default-src 'none'" in response.headers["content-security-policy"]


async def test_the_api_answers_behind_it(engine: Engine, keys: Keys):
    transport = httpx.ASGITransport(app=serve(engine))
    headers = {"authorization": f"Bearer {keys.read}", **HTML}
    async with httpx.AsyncClient(transport=transport, base_url="http://waypost", headers=headers) as client:
        assert (await client.get("/")).headers["content-type"].startswith("text/html")
        assert (await client.get("/v1/webhooks")).json()["data"] == []
        assert (await client.get("/healthz")).headers["content-type"].startswith("application/json")
        await refused(client.get("/v1/nothing"), 404, "no_such_route")
        await refused(client.get("/nothing", headers={"accept": "application/json"}), 404, "no_such_route")


def test_no_path_of_the_api_is_an_address_of_the_interface():
    paths: set[str] = {path for handler in ROUTES for path in _paths(handler)}
    assert {path.split("/")[1] for path in paths} <= API_PATHS


def _paths(handler: Any) -> set[str]:
    return set(handler.paths)
