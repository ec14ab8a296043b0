"""The text-message API: requests, clients and statuses."""
