"""Completed annotations out: which images and labels, read lazily, in any format.

Others use `export`, and say by `part` what goes in.
"""
