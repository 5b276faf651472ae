"""Pictures to patch tokens, names to vectors: the built-in descriptors and open_clip.

Others use `spec` for what a backbone is, `choice` to load one, `descriptions` for words about
categories; `open_clip` and `weights` are for adapting one.
"""
