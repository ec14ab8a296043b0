"""Pure rules and data: no I/O, no async, no clock, no randomness."""
