"""Liquid as Waypost reads it: lexer, checks, filters, and the environments."""
