"""Annotation files in: upload, preview, plan, and all of a file or nothing.

Others use `ingest`, `preview`, `plan` and `uploads`.
"""
