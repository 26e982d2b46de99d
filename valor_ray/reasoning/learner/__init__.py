"""The GRPO learner: from a batch of rollouts to new weights."""
