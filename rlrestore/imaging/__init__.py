"""Image files, quality measures, degradations, patches and tiling: the ground that everything stands on."""

PATCH = 63
"""Side of a patch in pixels: what the agent observes, and what the test sets are made of.

Source: paper, section 4.1.
"""
