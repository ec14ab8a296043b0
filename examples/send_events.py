"""Send events with Segment's library for Python: `python send_events.py URL WRITE_KEY`."""

import sys

import segment.analytics as segment

url, write_key = sys.argv[1:]
client = segment.Client(write_key, host=url, on_error=lambda error, _items: print(error, file=sys.stderr))

client.identify("ada", {"email": "ada@example.com", "plan": "pro"})
client.track("ada", "Order Shipped", {"order_id": "A-1001", "total": 99.5})
client.page("ada", "Docs", "Start")

# Events are sent by a thread in the background; wait for it before the program ends.
client.flush()
client.join()
