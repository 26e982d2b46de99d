"""Replies to tabletop questions: right ones in several styles, and flaws that can be put into any of them."""
