"""The report of `valor score`."""
