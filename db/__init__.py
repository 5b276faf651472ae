"""The SQL store: typed models, sessions and queries. Imports only clsl_core.types and errors."""
