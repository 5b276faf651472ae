"""How good labels and model are: report, agreement, completeness, audits, bulk acceptance.

Each module is a use case that screens and commands call; `audit_pairs` is shared by the audits.
"""
