"""Datasets as a whole: overviews for the screens, splits, snapshots."""
