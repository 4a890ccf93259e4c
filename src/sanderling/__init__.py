"""Sanderling: the open, self-hosted Code Interpreter."""
