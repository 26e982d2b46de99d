"""Fine-tuning of the detector on a set: examples, losses, averages, checkpoints, and the choice of weights. No Ray."""
