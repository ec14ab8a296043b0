"""The inbound routes with the most traffic, as raw ASGI: events and receipts."""
