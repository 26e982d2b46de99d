"""`valor score`: six rewards for each reply of a file."""
