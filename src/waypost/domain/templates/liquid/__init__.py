"""Liquid: lexer, checks, environments, filters, and the budget that every rendering spends."""
