"""Webhook endpoints, their deliveries and attempts."""
