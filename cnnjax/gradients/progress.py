"""One line on a terminal that says what a long verification is doing; nothing where the output is not a terminal."""

from __future__ import annotations

import sys
import time

__all__ = ["Progress"]

_QUIET = 3.0  # seconds before the first line
_INTERVAL = 0.2  # seconds between two lines
_WIDTH = 78


class Progress:
    """Shows the latest step in place of the one before.

    Args:
        name: of the function that is verified.
        seconds: the time that it may take.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds
        self._started = time.monotonic()
        self._next = self._started + _QUIET
        self._shown = False

    def __call__(self, step: str) -> None:
        """Say what is being done."""
        now = time.monotonic()
        if now < self._next or not sys.stderr.isatty():
            return
        limit = f" of {self._seconds:.0f}" if self._seconds < float("inf") else ""
        self._write(f"check_grads {self._name}: {step}, {now - self._started:.0f}{limit} s")
        self._next, self._shown = now + _INTERVAL, True

    def close(self) -> None:
        """Clear the line."""
        if self._shown:
            self._write("")

    def _write(self, text: str) -> None:
        print(f"\r{text[:_WIDTH]:<{_WIDTH}}", end="" if text else "\r", file=sys.stderr, flush=True)
