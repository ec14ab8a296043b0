"""A receiver of webhooks that verifies, drops repeats, keeps, and only then answers.

`python receiver.py PORT SECRET FILE`
"""

import json
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from verify_webhook import NotVerified, verify


class Receiver(BaseHTTPRequestHandler):
    """Takes one webhook at a time."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Keep a genuine webhook once."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            webhook_id = verify(SECRET, {name.lower(): value for name, value in self.headers.items()}, body)
        except NotVerified:
            self.answer(400)
            return
        with STORE:
            # The id is the same for every try and every replay of an event.
            STORE.execute("INSERT OR IGNORE INTO webhooks VALUES (?, ?)", (webhook_id, json.loads(body)["type"]))
        # Said only when it is kept: whatever is not answered with 2xx comes again.
        self.answer(204)

    def answer(self, status: int) -> None:
        """Answer without a body."""
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


if __name__ == "__main__":
    SECRET = sys.argv[2]
    STORE = sqlite3.connect(sys.argv[3])
    STORE.execute("CREATE TABLE IF NOT EXISTS webhooks (id TEXT PRIMARY KEY, type TEXT)")
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
