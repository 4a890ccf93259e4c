"""Model servers: how a turn is asked for, and what comes back."""
