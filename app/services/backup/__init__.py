"""A whole workspace as one checked archive, and back. Others use `archive.backup` and `restore`."""
