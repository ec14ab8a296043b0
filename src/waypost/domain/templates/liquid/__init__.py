"""Liquid: lexer, checks, filters and environments."""
