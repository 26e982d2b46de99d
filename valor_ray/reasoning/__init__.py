"""Reasoning training: rewards, rollouts, and the GRPO learner (paper, section 3)."""
