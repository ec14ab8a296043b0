"""Tracking: links that are stored and looked up, and clicks that are recorded."""
