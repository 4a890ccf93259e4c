"""State: one SQL database for records and events, one folder for bytes."""
