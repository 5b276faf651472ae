"""PASCAL VOC folders."""
