"""A learner on Ray Train: its room, its processes, what they tell the driver, and how they leave a machine."""
