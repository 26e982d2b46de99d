"""A running `valor serve` from outside: asking it, and its models behind our ports."""
