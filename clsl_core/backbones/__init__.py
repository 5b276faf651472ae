"""Pictures to patch tokens, names to vectors: the built-in descriptors and open_clip.

Others use the Protocol and the chooser in `choice`.
"""
