"""Controls of a fine-tuning run: the same learner on other sets, and the table. For evaluation only."""
