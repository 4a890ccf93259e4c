"""How fast and how small Sanderling is, beside others, in one run on one machine."""
