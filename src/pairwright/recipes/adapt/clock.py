"""How much time is left of a budget."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

LEAST = 2.0
"""Seconds. A budget below this holds no search that could be measured: zero-shot is the answer."""


class Clock:
    """A deadline. now: a monotonic clock in seconds (tests give their own). began: what it showed when the time began (None: it begins)."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic, began: float | None = None) -> None:
        self.now = now
        self.start, self.seconds = now() if began is None else began, seconds
        self.cut = False
        """Whether something was left out for want of time: then another run may come out differently."""

    @property
    def spent(self) -> float:
        return self.now() - self.start

    @property
    def left(self) -> float:
        return self.seconds - self.spent

    def over(self) -> bool:
        """True once the time is up, which is remembered."""
        if self.left <= 0:
            self.cut = True
        return self.left <= 0

    def holds(self, seconds: float) -> bool:
        """Whether so many seconds are left; if not, that something was left out is remembered."""
        if self.left <= max(0.0, seconds):
            self.cut = True
            return False
        return True

    def part(self, share: float) -> Clock:
        """A clock with a share of what is left."""
        return Clock(max(0.0, self.left) * share, self.now)


def seconds(text: str | float) -> float:
    """``"90"``, ``"45s"``, ``"5m"``, ``"1.5h"`` -> seconds.

    >>> seconds("5m")
    300.0
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(s|m|h)?[a-z]*\s*", str(text).lower())
    if not found or float(found[1]) <= 0:
        raise ValueError(f"a budget is a time such as 30s, 5m or 1h, got {text!r}")
    return float(found[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0}[found[2] or "s"]
