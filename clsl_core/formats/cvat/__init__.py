"""CVAT for images, XML 1.1."""
