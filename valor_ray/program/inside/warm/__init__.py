"""A process that runs one gated program after the other and proves that nothing of them stays."""
