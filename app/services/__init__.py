"""Use cases; the only place where db and clsl_core meet. Nothing here draws."""
