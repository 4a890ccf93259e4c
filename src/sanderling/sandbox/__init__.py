"""The wall: boxes, their kernels, and the host process that owns them."""
