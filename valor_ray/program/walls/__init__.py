"""The walls around a program: limits, another user, Landlock, seccomp, bubblewrap."""
