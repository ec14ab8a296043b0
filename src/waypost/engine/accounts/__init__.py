"""Workspaces, API keys and operator notifications."""
