"""Decoding pictures safely, from disk or from the network.

Others use `loading` for what a loader is, `remote` for pictures elsewhere, `fetch` for the limits.
"""
