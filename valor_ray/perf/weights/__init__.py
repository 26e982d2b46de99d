"""`valor bench publish` and `checkpoint`: new weights on their way to engines, and to the disk."""
