"""Intervals, audits, agreement, splits, metrics: pure functions on arrays."""
