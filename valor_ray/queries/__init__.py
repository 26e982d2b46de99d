"""Queries for both loops: reading them from anywhere, and having a VLM write them."""
