"""The end of workspaces, which reaches into all other areas."""
