"""
Every error Sanderling raises on purpose, by whose fault it is.

    SanderlingError
      x RequestError          the client's fault; carries `param` and `code`
        + InvalidRequest      a value that cannot be used
        + NotFound            an id that names nothing the caller may see
        + Conflict            the right request at the wrong time
        + Unauthorized        no key, or not a key of ours
        + TooLarge            more bytes than we take
        + Expired             it was there, and its time is over
        + RateLimited         too many requests
      x ModelError            the model server's fault
        + ModelRefused        it answered with an error
          + PromptTooLong     what it was asked is longer than it takes
        + ModelTimeout        it did not answer in time, or not at all
        + ModelProtocol       it answered with something that is not a chat completion
      x SandboxError          our wall's fault, never the user code's
        + SpawnFailed         a box could not be built; nothing was run
        + BoxDied             the box went away under a call that is not an execution
        + ProtocolBroken      the other end of a socket spoke nonsense
        + MachineUnfit        this machine cannot host boxes; says what to do
        + HostUnavailable     the sandbox host does not answer
        + MachineFull         no room for another box now
      x SetupError            the operator's fault: a setting, a folder, a port
      x StorageFull           the disk of the data folder has no room

What the user's code does is never an exception: it is an `Execution` with a status.
No HTTP here: `api/errors.py` holds the one table from class to status.
"""

from __future__ import annotations


class SanderlingError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])

    @property
    def message(self) -> str:
        return str(self.args[0])


class RequestError(SanderlingError):
    """The request cannot be served."""

    def __init__(
        self, message: str | None = None, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class InvalidRequest(RequestError):
    """The request holds a value that cannot be used."""


class NotFound(RequestError):
    """No such object."""


class Conflict(RequestError):
    """The object is not in a state that allows this."""


class Unauthorized(RequestError):
    """Incorrect API key provided."""


class TooLarge(RequestError):
    """The request is larger than the server takes."""


class Expired(RequestError):
    """The object has expired."""


class RateLimited(RequestError):
    """Too many requests."""

    def __init__(self, message: str | None = None, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message, code="rate_limit_exceeded")
        self.retry_after_s = retry_after_s


class ModelError(SanderlingError):
    """The model server failed."""


class ModelRefused(ModelError):
    """The model server refused the request."""

    def __init__(self, message: str | None = None, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class PromptTooLong(ModelRefused):
    """The conversation is longer than the model takes."""


class ModelTimeout(ModelError):
    """The model server did not answer in time."""


class ModelProtocol(ModelError):
    """The model server answered with something that is not a chat completion."""


class SandboxError(SanderlingError):
    """The sandbox failed."""


class SpawnFailed(SandboxError):
    """A box could not be built; no code was run."""


class BoxDied(SandboxError):
    """The box went away during the call."""


class ProtocolBroken(SandboxError):
    """The other end of a socket broke the protocol."""


class MachineUnfit(SandboxError):
    """This machine cannot host boxes."""


class HostUnavailable(SandboxError):
    """The sandbox host does not answer."""


class MachineFull(SandboxError):
    """There is no room for another box now."""

    def __init__(self, message: str | None = None, *, retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SetupError(SanderlingError):
    """The server cannot start with these settings."""


class StorageFull(SanderlingError):
    """The server's disk is full."""
