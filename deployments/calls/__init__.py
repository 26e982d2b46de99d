"""How the parts are called: callers who wait for a replica's successor, pictures that travel as their files."""
