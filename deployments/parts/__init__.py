"""The Serve deployments, one a file: what is expensive to start, and the front door."""
