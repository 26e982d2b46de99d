"""Training and evaluation kept apart: what training must not see, and what a trained model must not be asked."""
