"""Webhooks: endpoints, filters, signatures, deliveries and the ledger."""
