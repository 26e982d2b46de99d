"""Pre-training of the tabletop checkpoints, one model a file."""
