"""Decoding pictures safely, from disk or from the network."""
