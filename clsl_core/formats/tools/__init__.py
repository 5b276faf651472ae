"""Files of other tools: FiftyOne, Label Studio, Datumaro."""
