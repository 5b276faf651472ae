"""One thin file for each task: read state, call a service, draw."""
