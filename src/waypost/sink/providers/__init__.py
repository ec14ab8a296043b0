"""The HTTP providers that the sink plays."""
