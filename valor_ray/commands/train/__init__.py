"""Commands and jobs of training: queries, replies, rewards, GRPO."""
