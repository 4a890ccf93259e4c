"""The `sanderling` command: parsing and printing, one module per subcommand."""
