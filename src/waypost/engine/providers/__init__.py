"""Connections and the clients that call providers."""
