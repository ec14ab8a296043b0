"""Verify a webhook with the `standardwebhooks` library: `curl -s localhost:8090/received | python … SECRET`."""

import json
import sys

from standardwebhooks import Webhook

if __name__ == "__main__":
    webhook = Webhook(sys.argv[1])
    for request in json.load(sys.stdin)["data"]:
        # Gives back the parsed body, and raises WebhookVerificationError when it is not genuine.
        event = webhook.verify(request["body"], request["headers"])
        print("verified", event["data"]["id"])
