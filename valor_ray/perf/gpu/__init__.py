"""What gpu_check measures: the card, the learner's steps, the detector and the depth model, with random weights."""
