"""What programs, models, judges and callers send: decoded within limits, cut, and made safe to show.

Loaded in the sandbox too: standard library only, and nothing of the house.
"""
