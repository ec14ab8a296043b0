"""Event types: which metrics a workspace has seen."""
