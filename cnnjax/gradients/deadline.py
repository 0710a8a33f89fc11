"""How much time a verification has left."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

__all__ = ["NO_DEADLINE", "TIME_IS_UP", "Deadline"]

TIME_IS_UP = "the time was up (seconds=)"
"""Why something was left out."""


@dataclass(frozen=True)
class Deadline:
    """A moment after which nothing further is started."""

    at: float
    """In seconds of ``time.monotonic``; infinite where there is no limit."""

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the moment so many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """The seconds until then, 0 after it."""
        return max(0.0, self.at - time.monotonic())

    @property
    def is_up(self) -> bool:
        """Whether it has passed."""
        return self.left == 0.0

    def part(self, share: float) -> Deadline:
        """Return an earlier moment: when this share of what is left will be used up."""
        return Deadline.after(share * self.left)


NO_DEADLINE = Deadline(math.inf)
