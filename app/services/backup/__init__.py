"""A whole workspace as one checked archive, and back, from either kind of database.

Others use `archive`: `backup`, `restore`, and the copy kept before a migration.
"""
