"""What `valor train grounding` needs of the tabletop: pictures to judge and replay on, figures on truth, controls.

Nothing that trains may import it (law 8).
"""
