"""Who sits on which GPU, said before anything starts: nodes, and a rule for each kind of work."""
