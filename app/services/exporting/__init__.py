"""Completed annotations out: which images and labels, read lazily, in any format.

Others use `export` and the choices in `part` and `export_choice`.
"""
