"""What a client sees: the only room that knows HTTP."""
