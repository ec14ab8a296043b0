"""Providers as data: connectors, connections, requests, responses, callbacks and set-up checks."""
