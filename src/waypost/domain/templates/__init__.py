"""Templates: content for a channel, rendered with Liquid."""
