"""What everything that runs for hours shares: the run folder, records, checkpoints, publications, progress, curves."""
