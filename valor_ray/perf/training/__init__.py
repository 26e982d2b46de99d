"""`valor bench grpo`: training, ours and the plain way."""
