"""The models that training begins with, also where the profile `local` serves what was trained from them."""

BASES = ("policy.model=tabletop:policy", "detector.model=tabletop:detector")  # as of `--set`
