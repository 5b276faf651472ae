"""Background work: the table that is the truth, the bell that wakes a worker, and its keeper.

Others submit, follow and cancel by `table`, ring by `bell`, and keep a worker alive by `keeper`.
"""
