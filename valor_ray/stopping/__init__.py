"""Which checkpoint of a training run to take: signals that need no label, and a rule over them."""
