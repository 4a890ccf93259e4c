"""`%%capture`: what a cell writes and shows, kept instead of sent."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import Any

from sanderling.kernel.channel import Channel, Sent


class Captured:
    """IPython's object of this kind, as far as cells use it."""

    def __init__(self, channel: Channel) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.outputs: list[Sent] = []
        self._channel = channel

    @property
    def stdout(self) -> str:
        return self.out.getvalue()

    @property
    def stderr(self) -> str:
        return self.err.getvalue()

    def show(self) -> None:
        """Write and show it all after all."""
        sys.stdout.write(self.stdout)
        sys.stderr.write(self.stderr)
        for op, body, fields in self.outputs:
            self._channel.send(op, body, **fields)

    __call__ = show

    def __str__(self) -> str:
        return self.stdout


@contextlib.contextmanager
def capturing(channel: Channel, *, out: bool, err: bool, shown: bool) -> Iterator[Captured]:
    """Keep what is written and shown meanwhile, as far as it is said to be kept."""
    captured = Captured(channel)
    with contextlib.ExitStack() as stack:
        if out:
            stack.enter_context(contextlib.redirect_stdout(captured.out))
        if err:
            stack.enter_context(contextlib.redirect_stderr(captured.err))
        if shown:
            stack.enter_context(channel.recording(captured.outputs))
            stack.callback(_show_figures)
        yield captured


def _show_figures() -> None:
    """Figures that are open belong to the captured cell too."""
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and pyplot.get_fignums():
        pyplot.show()
