"""The steps of the schema, oldest first; each names the one before it."""
