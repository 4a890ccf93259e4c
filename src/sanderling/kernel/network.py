"""
The network of a box that has one: a proxy on its own loopback, named where programs look for it.

Everything that speaks HTTP reads these variables: urllib, requests, httpx, pandas, curl, pip. They
are read when a request is made, so it does not matter that libraries were loaded before.
"""

from __future__ import annotations

import os

# Lower and upper case: curl reads http_proxy only so, some others only HTTPS_PROXY.
_PROXIED = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
_DIRECT = ("no_proxy", "NO_PROXY")


def use_proxy(url: str) -> None:
    """Have this process, and those it starts, reach HTTP and HTTPS through the proxy at `url`."""
    os.environ.update(dict.fromkeys(_PROXIED, url))
    os.environ.update(dict.fromkeys(_DIRECT, "localhost,127.0.0.1,::1"))


def has_proxy() -> bool:
    """Whether there is a network at all."""
    return _PROXIED[0] in os.environ
