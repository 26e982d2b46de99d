"""Figures that others have published, each with its n and source."""
