"""The page of a job of `valor improve`."""
