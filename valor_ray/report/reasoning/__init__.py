"""The report of `valor train reasoning`."""
