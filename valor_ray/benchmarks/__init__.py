"""Evaluation: metrics, and the runner that asks every question of a benchmark and marks the answers."""
