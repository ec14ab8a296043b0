"""The hot inbound routes as raw ASGI: events and receipts."""
