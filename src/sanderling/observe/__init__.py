"""Names of everything that is logged."""
