"""The demo: questions about rendered scenes, asked over HTTP, and one HTML page that shows how each was answered."""
