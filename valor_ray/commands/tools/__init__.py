"""Commands for looking closer: run-program, tabletop, doctor."""
