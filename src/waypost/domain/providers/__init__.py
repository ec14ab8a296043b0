"""Providers: connectors, connections, requests, responses, callbacks and setup checks."""
