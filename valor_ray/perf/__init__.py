"""`valor bench`: ours and the plain way on the same work in one run, as a ratio."""
