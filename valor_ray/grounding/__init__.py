"""The grounding loop: what programs look for, boxes that a vision verifier confirmed, the set that they make."""
