"""The page of `valor train grounding`: the detector before and after, and whether it was published."""
