"""The settings: one typed tree, the profiles and `--set` that fill it."""
