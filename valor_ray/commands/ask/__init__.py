"""Commands that answer questions: serve, ask, demo."""
