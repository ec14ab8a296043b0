"""The text-message API: accept texts, and report their statuses."""
