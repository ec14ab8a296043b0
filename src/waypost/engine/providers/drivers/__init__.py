"""Drivers for what a connector cannot say as data."""
