"""Fine-tuning of the detector, from a mined set to published weights: `valor train grounding`."""
