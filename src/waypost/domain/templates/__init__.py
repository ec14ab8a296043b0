"""Templates: message content for a channel, rendered with Liquid."""
