"""Questions asked in number, to measure: answered through ports, and what is kept of how each went. No truth is met."""
