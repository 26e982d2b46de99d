"""What a start of Ray, and its end, wait for: nodes alike, apps that come up, threads that still call it, Ctrl-C."""
