"""The offline world: rendered scenes of coloured solids, questions about them, tiny models, the offline judge."""
