"""Questions about a table: what the words mean, how the table is read, what is done with it."""
