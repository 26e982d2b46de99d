"""The HTTP front door: its routes, what comes in, what goes out, and the page."""
