"""Pictures that a caller names by URL: fetched from the public internet only, within limits."""
