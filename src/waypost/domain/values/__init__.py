"""Values without a room of their own: ids, JSON paths, limits, guards."""
