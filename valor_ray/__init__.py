"""valor_ray: train visual reasoners without labels, on Ray (the VALOR method)."""

__version__ = "0.1.0"
