"""The AWS services that the sink plays."""
