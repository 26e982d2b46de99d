"""Depth by MoGe-2."""
