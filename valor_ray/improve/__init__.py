"""The whole paper as one resumable job: stages that are commands, and what they came to together."""
