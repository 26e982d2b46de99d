"""Rehearsal of what the start detector could do, on unlabelled general pictures, so that it is not forgotten."""
