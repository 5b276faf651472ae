"""What every use case stands on: settings, logs, files kept on disk, group commit, safe names."""
