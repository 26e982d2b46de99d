"""Verified answers: several replies to one question, and the one of their answers that is taken."""
