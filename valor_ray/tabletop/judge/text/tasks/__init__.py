"""What is asked, planned and computed, in one form: the task of a question, and whether a plan says a task."""
