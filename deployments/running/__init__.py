"""What a start of Ray, and its end, wait for: nodes alike, where Serve listens, apps that come up, threads, Ctrl-C."""
