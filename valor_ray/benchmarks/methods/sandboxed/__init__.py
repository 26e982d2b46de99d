"""The APIs that rivals' programs use: their text is loaded inside the sandbox, and nothing here is imported by us."""
