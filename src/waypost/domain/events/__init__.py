"""Events: the reader for the Segment protocol, and the event types."""
