"""The HTTP providers that the sink simulates."""
