"""The web interface as a raw ASGI route: the files that `make web` built, from memory, and the page for every address.

Without built files, the page says how to build them; the API does not need them.
"""

import functools
import hashlib
import mimetypes
import secrets
from pathlib import Path

import msgspec

from waypost.api.edge.asgi import Headers, HttpScope, Receive, Send, answer
from waypost.api.edge.pages import page, words

STATIC = Path(__file__).parents[2] / "web" / "static"
#: The first part of every path that is not an address of the interface.
API_PATHS = frozenset(
    ("v1", "text", "tracking", "receipts", "c", "o", "u", "l", "healthz", "readyz", "metrics", "openapi.json", "schema")
)
#: The first part of the address of every area of the interface.
PAGES = frozenset(
    ("", "people", "segments", "templates", "campaigns", "messages", "connections", "webhooks", "events", "settings")
)
_PAGE = "index.html"
#: Not served: what the build writes for itself.
_OWN = {"manifest.json"}
#: Vite puts a hash of their content into the names of these files.
_HASHED = "/assets/"
#: The headers of a request that matter.
_READ = frozenset({b"accept", b"accept-encoding", b"if-none-match"})
_ENCODINGS = ((b"br", ".br"), (b"gzip", ".gz"))
#: Stands in the page where every answer gets a number of its own: the policy allows only styles that know it.
_NONCE = b"waypost-nonce"
_POLICY = (
    "default-src 'self'; style-src 'self' 'nonce-{}'; img-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
#: The frame that shows a mail has no origin (sandbox) and runs only its own script; in one, images of other hosts load.
_MAIL_FRAME = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src data: {}; form-action 'none'; "
    "base-uri 'none'; sandbox allow-scripts; frame-ancestors 'self'"
)
_MAIL_FRAMES = {"/mail-frame.html": "", "/mail-frame-images.html": "https: http:"}
#: The script of that frame, which for a page without an origin comes from elsewhere.
_MAIL_SCRIPT = "/mail-frame.js"
_NOT_BUILT = page(
    "The web interface is not built",
    words("The API works. To build the interface, run this where Waypost's source is, then start the server again:")
    + "<p><code>make web</code></p>"
    + words("A wheel of Waypost has it already. /openapi.json describes the API."),
)


class StaticFile(msgspec.Struct, frozen=True):
    """A built file: its bytes, and the smaller ones that some encodings make of it."""

    headers: Headers
    etag: bytes
    body: bytes
    encoded: dict[bytes, bytes]


class InterfaceRoute:
    """Serves the interface; it comes after the other raw routes and leaves every other path to the API."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._files, self._page = load_files(folder)

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> bool:
        """Serve one request; return False, without a response, if it is one for the API."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            return False
        path: str = scope["path"]
        sent = {name: value for name, value in scope["headers"] if name in _READ}
        if (file := self._files.get(path)) is not None:
            await answer(send, *_respond(file, sent, scope["method"]))
            return True
        accept, first = sent.get(b"accept", b"*/*"), path.split("/", 2)[1]
        # Tools that take anything get the pages that there are, and the API's answer everywhere else.
        wants_page = b"text/html" in accept or (first in PAGES and b"*/*" in accept)
        if not wants_page or path.startswith(_HASHED) or first in API_PATHS:
            return False
        if self._page is None:
            headers, body = _NOT_BUILT
            await answer(send, 200 if path == "/" else 404, headers, body)
            return True
        nonce = secrets.token_urlsafe(16).encode()
        body = nonce.join(self._page)
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-cache"),
            (b"content-security-policy", _POLICY.format(nonce.decode()).encode()),
            *_SECURITY,
        ]
        await answer(send, 200, headers, b"" if scope["method"] == "HEAD" else body)
        return True


@functools.cache
def load_files(folder: Path) -> tuple[dict[str, StaticFile], list[bytes] | None]:
    """Return the files of the built interface by path, and the page in pieces between which its number stands."""
    found = {f"/{path.relative_to(folder).as_posix()}": path for path in sorted(folder.rglob("*")) if path.is_file()}
    index = found.pop(f"/{_PAGE}", None)
    files = {
        name: _load(name, path)
        for name, path in found.items()
        if path.suffix not in (".br", ".gz") and not path.name.startswith(".") and path.name not in _OWN
    }
    return files, None if index is None else index.read_bytes().split(_NONCE)


def _load(name: str, path: Path) -> StaticFile:
    body = path.read_bytes()
    media_type = "text/javascript" if path.suffix == ".js" else mimetypes.guess_type(name)[0]
    cached = b"public, max-age=31536000, immutable" if name.startswith(_HASHED) else b"no-cache"
    etag = b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode()
    headers = [
        (b"content-type", (media_type or "application/octet-stream").encode()),
        (b"cache-control", cached),
        (b"etag", etag),
        (b"vary", b"accept-encoding"),
        *_policies(name),
    ]
    encoded = {
        encoding: other.read_bytes() for encoding, ending in _ENCODINGS if (other := Path(f"{path}{ending}")).exists()
    }
    return StaticFile(headers, etag, body, encoded)


def _policies(name: str) -> Headers:
    """Return the headers that say what a file may do, and who may use it."""
    if name in _MAIL_FRAMES:
        policy = _MAIL_FRAME.format(_MAIL_FRAMES[name])
        own = [(header, value) for header, value in _SECURITY if header != b"x-frame-options"]
        return [*own, (b"x-frame-options", b"SAMEORIGIN"), (b"content-security-policy", policy.encode())]
    # A drawing that is opened by itself is a document, too.
    document = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
    shared = b"cross-origin" if name == _MAIL_SCRIPT else b"same-origin"
    return [
        document,
        *[(header, shared if header == b"cross-origin-resource-policy" else value) for header, value in _SECURITY],
    ]


def _respond(file: StaticFile, sent: dict[bytes, bytes], method: str) -> tuple[int, Headers, bytes]:
    if file.etag in sent.get(b"if-none-match", b""):
        return 304, file.headers, b""
    accepted = {
        part.partition(b";")[0].strip()
        for part in sent.get(b"accept-encoding", b"").lower().split(b",")
        if part.replace(b" ", b"").partition(b";q=")[2] not in (b"0", b"0.0", b"0.00", b"0.000")
    }
    body, headers = file.body, list(file.headers)
    for encoding, _ in _ENCODINGS:
        if encoding in accepted and encoding in file.encoded:
            body = file.encoded[encoding]
            headers.append((b"content-encoding", encoding))
            break
    headers.append((b"content-length", b"%d" % len(body)))
    return 200, headers, b"" if method == "HEAD" else body
