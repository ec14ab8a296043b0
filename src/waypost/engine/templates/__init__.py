"""Store templates and compile each version once."""
