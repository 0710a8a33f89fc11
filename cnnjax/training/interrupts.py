"""SIGTERM and Ctrl-C as a question that a loop asks between two steps, so that it can save first."""

from __future__ import annotations

import signal
import threading
from typing import Any

import jax

__all__ = ["Interrupts"]


class Interrupts:
    """While it is open, Ctrl-C and SIGTERM are noted; after it is closed, `stop` does what they ask for.

    Of several processes all must stop at the same step. There SIGTERM belongs to JAX's preemption service, which agrees
    on one, and Ctrl-C becomes a SIGTERM. Signals reach the main thread alone; in another nothing is noted.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._previous: dict[int, Any] = {}
        self._several = jax.process_count() > 1

    def __enter__(self) -> Interrupts:
        """Take the signals over."""
        if threading.current_thread() is threading.main_thread():
            taken = (signal.SIGINT,) if self._several else (signal.SIGINT, signal.SIGTERM)
            self._previous = {number: signal.signal(number, self._note) or signal.SIG_DFL for number in taken}
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def at(self, step: int) -> bool:
        """Whether to stop after this step; every process asks at every step."""
        if self._several:
            from jax.experimental.multihost_utils import reached_preemption_sync_point

            return reached_preemption_sync_point(step)
        return self._received is not None

    def stop(self) -> None:
        """Raise KeyboardInterrupt after Ctrl-C; after SIGTERM SystemExit with 143, by which a shell knows it."""
        if self._received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + signal.SIGTERM)

    def _note(self, number: int, _: object) -> None:
        self._received = number
        if self._several:
            signal.raise_signal(signal.SIGTERM)
