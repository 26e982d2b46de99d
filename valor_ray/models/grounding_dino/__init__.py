"""Detection by GroundingDINO: loading, phrases, boxes, losses, and mends of transformers."""
