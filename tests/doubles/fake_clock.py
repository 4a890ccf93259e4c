"""A clock that stands still until a test moves it."""

from __future__ import annotations


class FakeClock:
    """Implements `Clock`."""

    def __init__(self, at: float = 1_000_000.0) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def advance(self, *, seconds: float = 0.0, minutes: float = 0.0) -> None:
        """Let that much time pass."""
        self.at += seconds + minutes * 60
