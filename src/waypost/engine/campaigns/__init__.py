"""Campaigns: store them, decide their audiences, hand their messages to the senders, and count."""
