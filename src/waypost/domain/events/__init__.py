"""What happened: the Segment reader, and the catalogue of event types."""
