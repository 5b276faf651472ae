"""Who acts and what they may do: rights asked for by every use case, signed keys, the audit log.

Others ask `rights.require` and act as somebody by `rights.acting`, sign by `grants`, and note what
was done by `audit_log.record`.
"""
