"""
What the rest of Sanderling may ask of the sandbox, wherever it runs.

`sandbox/client.py` speaks this over the host's Unix socket; `sandbox/host.py` is the process that
does it. A box is created for a container id and is disposable: when its kernel dies, a new one
takes its place with /mnt/data kept, and the `Ended` says so.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from sanderling.records import ExecutionStatus


@dataclass(frozen=True, slots=True)
class Logs:
    """A burst of text on one stream; decoded UTF-8, undecodable bytes replaced."""

    stream: Literal["stdout", "stderr"]
    text: str


@dataclass(frozen=True, slots=True)
class Result:
    """
    Text of the last expression or of a displayed object.

    parts: (mime, text) of the same value for people: HTML, Markdown, JSON. It comes from inside the
        box: nothing to be shown outside a sealed frame.
    display_id: by which later values may take its place.
    is_update: it takes the place of the value of the same id, if the execution has shown one.
    """

    text: str
    parts: tuple[tuple[str, str], ...] = ()
    display_id: str | None = None
    is_update: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """
    A picture that was shown. `parts`, `display_id` and `is_update` are those of a `Result`.

    name: a file name proposed for it (`figure_1.png`, or from the figure's title); never a path.
    saved_path: the absolute path below /mnt/data under which the code saved this same figure
        during the cell, if it did. Both come from inside the box: check before use.
    """

    mime: Literal["image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"]
    data: bytes
    name: str
    saved_path: str | None
    parts: tuple[tuple[str, str], ...] = ()
    display_id: str | None = None
    is_update: bool = False


@dataclass(frozen=True, slots=True)
class Cleared:
    """Everything that the execution has shown before is gone (`clear_output`)."""


@dataclass(frozen=True, slots=True)
class Error:
    """The exception that ended the cell."""

    name: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """
    A regular file below /mnt/data that the execution created or changed, as the host saw it.

    moved_from: where a file of the same inode, size and time of writing was before: a path that is
        gone now, if it was renamed; its own, if something else about it changed (its mode, a link).
        Its bytes are most likely what they were, which nobody has looked at.
    """

    path: str  # absolute, clean UTF-8, below /mnt/data
    bytes: int
    moved_from: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """
    The last event of every execution.

    changed/removed compare /mnt/data before and after; what was written or deleted from outside
    meanwhile is not counted. A path from which a file was moved is not among `removed`. `notice`
    is one plain sentence for the model and the user when a limit or a death ended the cell, else
    None. `is_fresh` says that the kernel was replaced, so variables are gone.
    """

    status: ExecutionStatus
    duration_ms: float
    changed: tuple[ChangedFile, ...]
    removed: tuple[str, ...]
    notice: str | None
    is_fresh: bool


Happening = Logs | Result | Image | Cleared | Error | Ended


@dataclass(frozen=True, slots=True)
class BoxLimits:
    """
    What one box may use. The host refuses what the machine cannot give.

    allowed_domains: what its code may reach over HTTP and HTTPS, as `egress/domains.py` writes
        them; none: no network.
    read_only: its code can write no file anywhere; /mnt/data is written to from outside alone.
    """

    memory_bytes: int
    cpu_count: float | None = None  # processors; None: as many as there are
    allowed_domains: tuple[str, ...] = ()
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What the host says of itself."""

    pid: int
    isolation: str  # "zygote", "gvisor"
    boxes: int
    pool: int
    memory_bytes_max: int  # largest memory limit it will accept for a box
    cgroups: str  # "v1", "v2", "delegated", "none"
    soft_limits: tuple[str, ...] = ()  # held without a control group: cgroup.SOFT says which
    uids: str = "single"  # of boxes: "range", "subuid" (each its own), "single" (all the host's)
    environments: Mapping[str, int] = field(default_factory=dict)  # those at work -> containers
    read_only: bool = False  # whether it makes boxes that are


class Sandbox(Protocol):
    """A sandbox host."""

    async def status(self) -> HostStatus:
        """Raises HostUnavailable."""
        ...

    async def create(
        self, container_id: str, limits: BoxLimits, *, tenant: str = "", environment: str = ""
    ) -> bool:
        """
        Make sure a box stands for `container_id`; idempotent. Return True if it is a new one
        (then /mnt/data is empty and the caller mounts its files), False if it was there.

        tenant: who has it, an organization id. When there is not enough for all, tenants are
            served in turn, and none gets more boxes than its share.
        environment: the name of its guest environment; empty: the one that the host calls its home.

        Raises: RateLimited (the tenant has its share), MachineFull, SpawnFailed, MachineUnfit,
        InvalidRequest (no such environment), SetupError (it cannot be used), HostUnavailable.
        """
        ...

    def execute(
        self, container_id: str, execution_id: str, code: str, *, timeout_s: float
    ) -> AsyncIterator[Happening]:
        """
        Run one cell; yield what happens as it happens, exactly one `Ended` last.

        Idempotent by `execution_id`: asked again, it replays from the journal and then follows.
        Executions of one container queue in order. Closing the iterator does not stop the cell.

        Raises: NotFound (no box), RateLimited (too many wait), MachineFull (it waited too long
        for its turn; nothing was run), HostUnavailable, ProtocolBroken.
        """
        ...

    async def interrupt(self, container_id: str, execution_id: str) -> bool:
        """Interrupt that execution, running or queued. False if it is not there or is over."""
        ...

    async def write_file(self, container_id: str, path: str, data: AsyncIterable[bytes]) -> int:
        """
        Write a file below /mnt/data (parents made, an existing file replaced); return its bytes.

        Raises: NotFound, InvalidRequest (path), TooLarge (no space left in the box).
        """
        ...

    def read_file(self, container_id: str, path: str) -> AsyncIterator[bytes]:
        """
        Stream a regular file below /mnt/data; never follows links out.

        Raises: NotFound (no box, no such regular file).
        """
        ...

    async def delete_file(self, container_id: str, path: str) -> bool:
        """Remove a file; False if it was not there."""
        ...

    async def link_file(self, container_id: str, path: str, target: str) -> bool:
        """
        Let `path` lead to the file at `target` for whoever is in the box, by a symbolic link; both
        below /mnt/data. False where the box has something else there.

        Raises: NotFound (no box), InvalidRequest (path), TooLarge (no space left in the box).
        """
        ...

    async def containers(self) -> list[str]:
        """Return the ids of the containers that have a box, also one still being made."""
        ...

    async def list_files(self, container_id: str) -> list[ChangedFile]:
        """
        Return the regular files below /mnt/data that `execute` would name, as they are now.

        Raises: NotFound (no box).
        """
        ...

    async def close(self, container_id: str) -> bool:
        """End the box and everything in it; a running execution ends `interrupted`. Idempotent."""
        ...
