"""What `valor mine` needs of the tabletop: scenes to mine. Nothing that mines may import it (law 8)."""
