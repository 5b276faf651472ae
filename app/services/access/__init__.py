"""Who acts and what they may do: rights asked for by every use case, signed keys, the audit log.

Others take `rights.require…` and `acting`, `grants`, and `audit_log.record`.
"""
