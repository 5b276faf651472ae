"""Label recovery for partly labelled image collections: formats, features, model, proposals.

Nothing in this package knows of the database, the job queue or the screen, so it can be
scripted on its own.
"""
