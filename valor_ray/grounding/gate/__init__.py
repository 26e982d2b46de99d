"""The gate before publication: has general detection suffered? The one place of the grounding loop that sees labels."""
