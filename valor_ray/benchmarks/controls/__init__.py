"""Controls of a run of `valor train reasoning`: what its gain is worth. For evaluation only."""
