"""`valor train reasoning`: from queries to steps, rollouts, records, and the run that holds them together."""
