"""Where a dataset's pictures are, how they look on a screen, and what is drawn around.

Others use `places` to read them, `rendering` to show them, `boxes` for the source file's boxes.
"""
