"""A dataset's categories renamed, merged and mapped: counted before, undone exactly.

Others use `changes`, `mapping`, and `effects` for what these mean in an export.
"""
