"""HTTP in: the edge (hot) and the control API; thin."""
