"""Programs that are compiled quickly at first, and with optimization once they have run for as long as that takes."""

from __future__ import annotations

import functools
import threading
import time
from typing import Any

import jax
import numpy as np

__all__ = ["Executable"]

_FAST_TO_COMPILE = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
_PATIENCE = 8.0  # compiling with optimization takes some 8 times as long


@functools.cache
def _fast_options() -> dict[str, Any]:
    """The options of `_FAST_TO_COMPILE` that this XLA knows: they come and go with its releases."""

    def is_known(option: str, value: Any) -> bool:
        try:
            jax.jit(lambda: 0, compiler_options={option: value}).lower().compile()
        except jax.errors.JaxRuntimeError:
            return False
        return True

    return {option: value for option, value in _FAST_TO_COMPILE.items() if is_known(option, value)}


class Executable:
    """A jitted function for arguments of one shape and dtype.

    A program that runs a few times is not worth the compiler's optimizations, and one that runs for long is. How long
    it will run is not known beforehand, so it is compiled again once it has run for about as long as this takes, as one
    buys skis after having rented them for a while.
    """

    def __init__(self, jitted: Any) -> None:
        self._jitted = jitted
        self._lowered: Any = None
        """What is left to be compiled with optimization."""
        self._compiled: Any = None
        self._patience = 0.0
        self._seconds_run = 0.0
        self._lock = threading.Lock()

    def __call__(self, *values: Any) -> np.ndarray:
        """Return the result on the host; the first call compiles the function for arguments like these."""
        if self._compiled is None:
            with self._lock:
                self._compiled = self._compiled or self._compile(values)
        if self._lowered and self._seconds_run > self._patience and self._lock.acquire(blocking=False):
            try:  # other threads go on with the program as it is
                if self._lowered:
                    self._compiled, self._lowered = self._lowered.compile(), None
            finally:
                self._lock.release()
        start = time.perf_counter()
        result = np.asarray(self._compiled(*values))
        self._seconds_run += time.perf_counter() - start
        return result

    def _compile(self, values: tuple[Any, ...]) -> Any:
        lowered = self._jitted.lower(*values)
        if jax.default_backend() != "cpu":
            return lowered.compile()
        start = time.perf_counter()
        compiled, self._lowered = lowered.compile(_fast_options()), lowered
        self._patience = _PATIENCE * (time.perf_counter() - start)
        return compiled
