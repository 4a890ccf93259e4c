"""A virtual machine with a stock Debian, to try the sandbox on a kernel and control groups unlike the developer's."""
