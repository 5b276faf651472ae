"""Intervals, audits, agreement, samples, splits, metrics: pure functions on arrays.

Others use any of its modules; none of them knows of models.
"""
