"""Journal, recorder, scheduler, nodes: they run every area and know none."""
