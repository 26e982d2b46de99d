"""One module a style: each writes an Intent of any family as a Draft."""
