"""Measurements of Waypost, each beside a bare program that does only the wire work, in one run."""
