"""Experiments that only scripts run: comparisons, ablations, strips, learning curves. Not in the wheel."""
