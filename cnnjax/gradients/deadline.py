"""How much time a verification has left."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["NO_DEADLINE", "TIME_IS_UP", "Deadline", "TimeIsUpError"]

_T = TypeVar("_T")

TIME_IS_UP = "the time was up (seconds=)"
"""Why something was left out."""


class TimeIsUpError(Exception):
    """There was no time left to decide something."""

    def __str__(self) -> str:
        """Return why it was left out."""
        return TIME_IS_UP


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

    def within(self, steps: Iterable[_T]) -> Iterator[_T]:
        """Yield from an iterator until then.

        Raises:
            TimeIsUpError: it is not exhausted by then.
        """
        if self.is_up:
            raise TimeIsUpError
        for step in steps:
            if self.is_up:
                raise TimeIsUpError
            yield step


NO_DEADLINE = Deadline(math.inf)
