"""Looking after a workspace: examined and mended, its health told, a bundle for whoever helps.

Others use `doctor`, `health` and `support`; `upkeep` holds what the doctor looks at.
"""
