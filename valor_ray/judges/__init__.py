"""Judges: what they are asked (text heads, VQA, canaries). How an endpoint is asked is in `gateway/`."""
