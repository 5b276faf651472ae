"""Datasets as a whole: overviews for the screens, splits of the images, snapshots of the labels.

Others use `overview`, `splits` and `snapshots`.
"""
