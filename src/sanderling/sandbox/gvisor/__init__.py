"""Boxes behind gVisor: a kernel of their own, in user space, between the code and the machine's."""
