"""COCO instances JSON and LVIS, whole or streamed."""
