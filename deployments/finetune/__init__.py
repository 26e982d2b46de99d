"""Fine-tunes the detector on Ray: what carries `valor train grounding`."""
