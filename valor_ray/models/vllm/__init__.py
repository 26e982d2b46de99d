"""The policy on vLLM: sampling, prompting, weights that are replaced while it runs."""
