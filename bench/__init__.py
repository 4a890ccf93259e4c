"""How fast Sanderling is, beside others, in one run on one machine."""
