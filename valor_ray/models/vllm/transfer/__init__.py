"""Weights on their way from a learner into an engine: checksums, the memory that they come into, gloo for CPUs."""
