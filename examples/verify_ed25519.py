"""Verify webhooks with `v1a` signatures: `curl -s localhost:8090/received | python verify_ed25519.py PUBLIC_KEY`."""

import base64
import json
import sys
import time
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TOLERANCE_S = 300


def verify(public_key: str, headers: Mapping[str, str], body: bytes) -> str:
    """The webhook's id; InvalidSignature when it is not genuine. `headers` have lower-case names."""
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TOLERANCE_S:
        raise InvalidSignature
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.removeprefix("whpk_")))
    for item in headers.get("webhook-signature", "").split():
        kind, _, signature = item.partition(",")
        if kind == "v1a":
            try:
                key.verify(base64.b64decode(signature), f"{webhook_id}.{timestamp}.".encode() + body)
            except InvalidSignature:
                continue
            return webhook_id
    raise InvalidSignature


if __name__ == "__main__":
    for request in json.load(sys.stdin)["data"]:
        print("verified", verify(sys.argv[1], request["headers"], request["body"].encode()))
