"""Tracking: short links and their tokens, links in texts, UTM parameters, and what is known of a click."""
