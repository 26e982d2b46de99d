"""Pages of the grounding loop."""
