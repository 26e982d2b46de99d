"""Rows of files that somebody else has written, whatever they are kept in."""
