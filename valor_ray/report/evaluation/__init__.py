"""The report of `valor eval`."""
