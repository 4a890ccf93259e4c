"""
How many requests an organization may make in a minute, and the headers that tell it.

A bucket holds a minute's worth and fills steadily, so a burst is taken and the rate is kept. What
is kept of an organization is two numbers, for a minute after its last request: by then its bucket
is full, which is what an unknown one has.

Source: OpenAI guide, "Rate limits", its headers.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from sanderling.clock import Clock
from sanderling.errors import RateLimited

_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an organization has left. `reset_s`: seconds until it has all again."""

    limit: int
    remaining: int
    reset_s: float

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that every reply of the organization carries."""
        return [
            (b"x-ratelimit-limit-requests", str(self.limit).encode()),
            (b"x-ratelimit-remaining-requests", str(self.remaining).encode()),
            (b"x-ratelimit-reset-requests", duration(self.reset_s).encode()),
        ]


class RateLimits:
    """The buckets of all organizations."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        """per_minute: requests; 0: as many as they like."""
        self._per_minute = per_minute
        self._clock = clock
        # organization -> requests left, and when that was so; least recently used first
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, organization_id: str) -> tuple[Allowance | None, RateLimited | None]:
        """Count a request of the organization; return what it has left, and the refusal if any."""
        if not self._per_minute:
            return None, None
        now = self._clock.now()
        self._forget_full(now)
        left = self._left(organization_id, now)
        refusal = None if left >= 1.0 else self._refusal(organization_id, left)
        if refusal is None:
            left -= 1.0
        # Of a refused one too: if the clock was set back, it would wait until it is as late again.
        self._buckets[organization_id] = (left, now)
        self._buckets.move_to_end(organization_id)
        return Allowance(
            self._per_minute, int(left), self._seconds(self._per_minute - left)
        ), refusal

    def _left(self, organization_id: str, now: float) -> float:
        left, at = self._buckets.get(organization_id, (float(self._per_minute), now))
        # A clock that was set back gives nothing, and takes nothing either.
        return min(self._per_minute, left + max(0.0, now - at) * self._per_minute / _MINUTE_S)

    def _seconds(self, requests: float) -> float:
        return requests * _MINUTE_S / self._per_minute

    def _refusal(self, organization_id: str, left: float) -> RateLimited:
        wait_s = self._seconds(1.0 - left)
        return RateLimited(
            f"Rate limit reached for requests in organization {organization_id} on requests per "
            f"min (RPM): Limit {self._per_minute}, Used {self._per_minute}, Requested 1. Please "
            f"try again in {duration(wait_s)}.",
            retry_after_s=wait_s,
        )

    def _forget_full(self, now: float) -> None:
        while self._buckets:
            organization_id, (_, at) = next(iter(self._buckets.items()))
            if 0.0 <= now - at < _MINUTE_S:
                return
            if now < at:  # the clock was set back: begin to count from here
                self._buckets[organization_id] = (self._buckets[organization_id][0], now)
                return
            del self._buckets[organization_id]


def duration(seconds: float) -> str:
    """Return a time as OpenAI's headers write it: `600ms`, `1.5s`, `6m0s`."""
    milliseconds = max(0, round(seconds * 1000))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes}m{rest / 1000:g}s" if minutes else f"{rest / 1000:g}s"
