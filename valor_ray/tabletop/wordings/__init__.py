"""How questions are worded: one module a part of the world, so that a guard can see who reads the held-out ones."""
