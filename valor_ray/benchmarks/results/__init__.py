"""What the questions of a benchmark came to, one by one: rows, their samples, and what choosing among these brought."""
