"""Annotation files in: upload, preview, plan, and all of a file or nothing.

Others use `ingest`, `preview` with its `report`, `uploads`, and `unfinished` for what was cut off.
"""
