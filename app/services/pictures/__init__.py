"""Where a dataset's pictures are, and how they look on a screen."""
