"""What every use case stands on: settings, logs, files kept on disk, group commit, safe names.

Others use any of its modules; none of them knows of datasets.
"""
