"""Running a program inside the judge: a bounded interpreter, made-up scenes, and what the answers show."""
