"""Annotators, their roles, how they sign in, their keys for scripts, their preferences.

Others enter by `annotators`; `people`, `identities`, `providers`, `api_tokens` and `preferences`
serve the screens, routes and commands of those names.
"""
