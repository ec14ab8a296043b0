"""Verify a Standard Webhooks request with the standard library only.

As a program it reads what `waypost sink` received: `curl -s localhost:8090/received | python verify_webhook.py SECRET`.
"""

import base64
import hmac
import json
import sys
import time
from collections.abc import Mapping

TOLERANCE_S = 300


class NotVerified(Exception):
    """The request was not signed with this secret, or long ago."""


def verify(secret: str, headers: Mapping[str, str], body: bytes) -> str:
    """The webhook's id. `headers` have lower-case names; `body` is what came, byte for byte."""
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TOLERANCE_S:
        raise NotVerified("the timestamp is missing, too old or too new")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{webhook_id}.{timestamp}.".encode() + body, "sha256")
    expected = "v1," + base64.b64encode(digest).decode()
    # Several signatures stand here while a secret is rotated; one that fits is enough.
    for signature in headers.get("webhook-signature", "").split():
        if hmac.compare_digest(signature.encode(), expected.encode()):
            return webhook_id
    raise NotVerified("no signature fits")


if __name__ == "__main__":
    for request in json.load(sys.stdin)["data"]:
        print("verified", verify(sys.argv[1], request["headers"], request["body"].encode()))
