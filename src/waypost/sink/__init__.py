"""A simulator for tests: webhook receivers with faults, and the providers of messages."""
