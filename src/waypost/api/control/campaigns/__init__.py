"""The control API of campaigns."""
