"""`valor score`: the rewards of each reply of a file."""
