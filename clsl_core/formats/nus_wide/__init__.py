"""NUS-WIDE as lists in folders and as CSV."""
