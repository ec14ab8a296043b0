"""Profiles, and the identifiers that resolve to them."""
