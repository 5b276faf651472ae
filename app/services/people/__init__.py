"""Annotators, their roles, sign-in, tokens and preferences."""
