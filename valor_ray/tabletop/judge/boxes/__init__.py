"""The offline vision verifier of boxes: from pixels alone."""
