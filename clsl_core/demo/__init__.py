"""The drawn demo collection with its labels. Others use `collection`."""
