"""What the vision verifier is asked about boxes, the pictures that it is shown, and what its answers are worth."""
