"""A scratch app around the review component, with the routes played by an in-memory server."""
