"""The same cells in a real Jupyter kernel and in ours, on the same packages."""
