"""A virtual machine with a stock Debian: a kernel and control groups unlike the developer's."""
