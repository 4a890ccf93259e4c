"""
From a domain that is allowed to a connection with it, and with nothing else.

The name is resolved here, each address is held against `addresses.py`, and the connection is made
to an address that was looked at: nobody resolves a second time, so an answer that changes changes
nothing. One address that is not public is enough to refuse them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from sanderling.sandbox.egress import addresses
from sanderling.sandbox.egress.targets import Refused, Target

RESOLVE_S_MAX = 10.0
DIAL_S_MAX = 5.0  # for one address; a SYN is repeated after 1 and 3 s
_ADDRESSES_MAX = 4  # tried one after another
_LOOKUPS_MAX = 32  # at once, each a thread that waits
_BUFFER_BYTES = 512 << 10  # what the kernel may hold in each direction for one connection

Resolve = Callable[[str], Awaitable[Sequence[str]]]
Dial = Callable[[str, int], Awaitable[socket.socket]]


class Reach:
    """
    Makes connections to domains.

    resolve: the addresses of a name, OSError if there are none.
    dial: a connected, non-blocking socket, OSError if there is none to be had.
    """

    def __init__(self, resolve: Resolve, dial: Dial, *, lookups_max: int = _LOOKUPS_MAX) -> None:
        self._resolve = resolve
        self._dial = dial
        self._lookups = asyncio.Semaphore(lookups_max)

    def for_one(self, lookups_max: int) -> Reach:
        """Return the same for one of many, who may ask for so many names at once."""
        return Reach(self._resolve, self._dial, lookups_max=lookups_max)

    async def connect(self, target: Target) -> tuple[socket.socket, str]:
        """
        Return a connection to the target and the address that it leads to.

        Raises:
            Refused: the name leads nowhere, to what is not public, or nobody answers there.
        """
        found = await self._addresses(target.domain)
        for address in found:
            if (what := addresses.refusal(address)) is not None:
                raise Refused(
                    403, f"{target.domain} is not allowed: it leads to {address} ({what})."
                )
        reason = "no address"
        for address in found[:_ADDRESSES_MAX]:
            try:
                async with asyncio.timeout(DIAL_S_MAX):
                    return await self._dial(address, target.port), address
            except TimeoutError:
                reason = "no answer"
            except OSError as error:
                reason = error.strerror or "no connection"
        raise Refused(502, f"{target.domain} cannot be reached: {reason}.")

    async def _addresses(self, domain: str) -> Sequence[str]:
        try:
            async with asyncio.timeout(RESOLVE_S_MAX), self._lookups:
                return await self._resolve(domain)
        except TimeoutError as error:
            raise Refused(504, f"{domain} was not found in time: no answer from DNS.") from error
        except OSError as error:
            raise Refused(502, f"{domain} was not found: {error.strerror}.") from error


class Resolver:
    """Asks the machine's resolver, in threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUPS_MAX, thread_name_prefix="resolve")

    async def __call__(self, domain: str) -> Sequence[str]:
        # The dot at the end: no search list of the machine's makes another name of it.
        name = f"{domain}.".encode()
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, socket.getaddrinfo, name, None, 0, socket.SOCK_STREAM
        )
        return list(dict.fromkeys(str(place[0]) for *_, place in found))


async def dial(address: str, port: int) -> socket.socket:
    """
    Return a connection to a public address.

    Raises:
        Refused: the address is this machine's own.
        OSError: nobody answers there.
    """
    is_v6 = ipaddress.ip_address(address).version == 6
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    if _is_ours(family, address):
        raise Refused(403, f"{address} is not allowed: it is the address of this machine.")
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            connection.setsockopt(socket.SOL_SOCKET, buffer, _BUFFER_BYTES)
        await asyncio.get_running_loop().sock_connect(connection, (address, port))
    except BaseException:
        connection.close()
        raise
    return connection


def _is_ours(family: socket.AddressFamily, address: str) -> bool:
    """
    Whether a connection would stay on this machine, behind its firewall and in front of its ports.

    Asked of the kernel, which sends from the very address when that is its own. Sends nothing.
    """
    with socket.socket(family, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect((address, 9))
        return bool(ipaddress.ip_address(probe.getsockname()[0]) == ipaddress.ip_address(address))
    return False
