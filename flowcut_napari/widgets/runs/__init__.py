"""All training runs of a folder in a table."""
