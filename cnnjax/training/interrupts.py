"""SIGTERM and Ctrl-C as a flag that a loop reads between steps, so it can save before it stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeAlias

import jax

__all__ = ["Interrupts"]

_Handler: TypeAlias = Callable[[int, FrameType | None], Any] | int | signal.Handlers


class Interrupts:
    """While it is open, Ctrl-C and SIGTERM are only recorded; once it is closed, `reraise` carries them out.

    Several processes have to stop at the same step. SIGTERM is then left to JAX's preemption service, through which
    the processes agree on a step, and Ctrl-C becomes a SIGTERM. Signals reach only the main thread; in
    another thread nothing is recorded.

    Example:
        >>> with Interrupts() as interrupts:
        ...     signal.raise_signal(signal.SIGTERM)
        ...     interrupts.should_stop(step=1)
        True
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._previous: dict[int, _Handler] = {}
        self._several = jax.process_count() > 1

    def __enter__(self) -> Interrupts:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            handled = (signal.SIGINT,) if self._several else (signal.SIGINT, signal.SIGTERM)
            self._previous = {number: signal.signal(number, self._record) or signal.SIG_DFL for number in handled}
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the previous handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def should_stop(self, step: int) -> bool:
        """Return whether to stop after this step; every process has to ask at every step."""
        if self._several:
            from jax.experimental.multihost_utils import reached_preemption_sync_point

            return reached_preemption_sync_point(step)
        return self._received is not None

    def reraise(self) -> None:
        """Raise KeyboardInterrupt after Ctrl-C; after SIGTERM raise SystemExit with status 143, as a shell expects."""
        if self._received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + signal.SIGTERM)

    def _record(self, number: int, _: FrameType | None) -> None:
        self._received = number
        if self._several:
            signal.raise_signal(signal.SIGTERM)
