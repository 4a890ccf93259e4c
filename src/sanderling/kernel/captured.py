"""`%%capture` and IPython's `capture_output`: what code writes and shows, kept instead of sent."""

from __future__ import annotations

import base64
import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from typing import Any

from sanderling.kernel import mimes
from sanderling.kernel.channel import Channel, Sent


class RichOutput:
    """IPython's object of this kind: one thing that was shown."""

    __module__ = "IPython.utils.capture"

    def __init__(self, sent: Sent, send: Callable[..., None]) -> None:
        self.data = _bundle_of(sent)
        self.metadata: dict[str, Any] = {}
        self.transient: dict[str, Any] = {}
        self.update = bool(sent[2].get("is_update"))
        self._sent, self._send = sent, send

    def display(self) -> None:
        """Show it after all."""
        op, body, fields = self._sent
        self._send(op, body, **fields)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        del include, exclude
        return self.data, self.metadata


class CapturedIO:
    """IPython's object of this kind, as far as cells use it."""

    __module__ = "IPython.utils.capture"

    def __init__(self, channel: Channel) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.sent: list[Sent] = []
        self._channel = channel

    @property
    def stdout(self) -> str:
        return self.out.getvalue()

    @property
    def stderr(self) -> str:
        return self.err.getvalue()

    @property
    def outputs(self) -> list[RichOutput]:
        return [RichOutput(sent, self._channel.send) for sent in self.sent]

    def show(self) -> None:
        """Write and show it all after all."""
        sys.stdout.write(self.stdout)
        sys.stderr.write(self.stderr)
        for output in self.outputs:
            output.display()

    __call__ = show

    def __str__(self) -> str:
        return self.stdout


@contextlib.contextmanager
def capturing(
    channel: Channel, *, out: bool, err: bool, shown: bool, is_cell: bool
) -> Iterator[CapturedIO]:
    """
    Keep what is written and shown meanwhile, as far as it is said to be kept.

    is_cell: figures that are open in the end belong to it, as to any cell.
    """
    captured = CapturedIO(channel)
    with contextlib.ExitStack() as stack:
        if out:
            stack.enter_context(contextlib.redirect_stdout(captured.out))
        if err:
            stack.enter_context(contextlib.redirect_stderr(captured.err))
        if shown:
            stack.enter_context(channel.recording(captured.sent))
            if is_cell:
                stack.callback(_show_figures)
        yield captured


def capture_output_on(channel: Channel) -> type:
    """Return what stands for IPython's class `capture_output`."""

    class capture_output(contextlib.ExitStack):  # noqa: N801 - IPython's name
        __module__ = "IPython.utils.capture"

        def __init__(self, stdout: bool = True, stderr: bool = True, display: bool = True) -> None:
            super().__init__()
            self._kept = capturing(channel, out=stdout, err=stderr, shown=display, is_cell=False)

        def __enter__(self) -> Any:
            super().__enter__()
            return self.enter_context(self._kept)

    return capture_output


def _bundle_of(sent: Sent) -> mimes.Bundle:
    """What was shown, by media type; pictures in base64, as notebooks have them."""
    op, body, fields = sent
    bundle: mimes.Bundle = {}
    end = len(body)
    for mime, size in reversed(fields.get("parts", [])):
        bundle[mime] = body[end - size : end].decode("utf-8", "replace")
        end -= size
    if op == "image" and fields["mime"] != "image/svg+xml":
        bundle[fields["mime"]] = base64.b64encode(body[:end]).decode("ascii")
    else:
        bundle[fields.get("mime", mimes.TEXT)] = body[:end].decode("utf-8", "replace")
    return bundle


def _show_figures() -> None:
    """Figures that are open belong to the captured cell too."""
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and pyplot.get_fignums():
        pyplot.show()
