"""How good labels and model are: estimates, audits, bulk acceptance, agreement."""
