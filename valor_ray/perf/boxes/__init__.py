"""`valor bench boxes`: pictures with boxes through the three checks, ours and the plain way."""
