"""What is loaded inside the sandbox: standard library, numpy and our tools only."""
