"""Background work: the table that is the truth, and the bell that wakes a worker.

Others use `table` to submit, claim and cancel, and `bell` to ring.
"""
