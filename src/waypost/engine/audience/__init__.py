"""Resolve identities to profiles, and recipients to addresses."""
