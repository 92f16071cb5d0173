"""Tells who waits for a training how far it is, and lets them end it between two steps of arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

EVERY_S = 0.1


@dataclass(slots=True)
class Progress:
    """`going` is told the share done (0 to 1) at each stage and between; what it raises ends the work."""

    going: Callable[[float], None]
    share: float = 0.0
    told_at: float = 0.0

    def at(self, share: float) -> None:
        """The work has come to `share`; it never goes back."""
        self.share = max(self.share, share)
        self.told_at = monotonic()
        self.going(self.share)

    def tick(self) -> None:
        now = monotonic()
        if now - self.told_at >= EVERY_S:
            self.told_at = now
            self.going(self.share)
