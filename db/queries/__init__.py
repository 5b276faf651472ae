"""Queries as functions: the session comes first, none of them commits."""
