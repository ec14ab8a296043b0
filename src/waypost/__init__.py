"""Waypost: a self-hosted customer-messaging engine."""

__version__ = "0.1.0"
