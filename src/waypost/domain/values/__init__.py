"""Values that every package uses: ids, JSON paths, patterns, URL and secret guards."""
