"""One run, from queued to done."""
