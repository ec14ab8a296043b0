"""The AWS services that the sink simulates."""
