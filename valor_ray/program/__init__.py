"""Replies and their programs: parse a reply, find its detection phrases, run it in the sandbox (DESIGN §5)."""
