"""Proposals that follow verdicts within a second, between two trainings.

Others use `updates`, and `tables` for what a run thought of every pair.
"""
