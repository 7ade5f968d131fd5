"""Measuring a model: test sets, scores, oracles, tools, costs."""
