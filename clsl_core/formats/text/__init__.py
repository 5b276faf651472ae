"""JSON, XML, CSV and folders read and written safely; every format stands on it."""
