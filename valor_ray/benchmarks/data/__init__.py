"""The sets of questions with known answers, one file each. Evaluation only."""
