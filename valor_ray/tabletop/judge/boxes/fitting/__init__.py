"""How the verifier's coefficients are made. Nothing that serves imports this: here alone labels are met."""
