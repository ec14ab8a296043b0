"""Campaigns: what one is, when it sends, and what became of its recipients. Pure."""
