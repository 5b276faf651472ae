"""Reading and writing JSON, XML, CSV and folders safely; formats stand on it."""
