"""The verified detection set: decisions, ODVG and COCO files, captions with exact token spans."""
