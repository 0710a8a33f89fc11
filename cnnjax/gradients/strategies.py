"""How the function under test is run: with which argument dtypes, and traced or called.

Python numbers in a function become constants of its working dtype when it is traced, so the best way to have it in
float64 is to trace it with float64 arguments. A function that insists on its own dtype is traced as it is and its jaxpr
evaluated in float64. A function that branches on values (``if x > 0``) cannot be traced and is called op by op.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["STRATEGIES", "Strategy", "float64_enabled", "float64_enabled_in_all_threads"]


@contextlib.contextmanager
def float64_enabled() -> Generator[None, None, None]:
    """Enable 64-bit types and standard dtype promotion."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


@contextlib.contextmanager
def float64_enabled_in_all_threads() -> Generator[None, None, None]:
    """Enable 64-bit types in all threads: XLA calls back from one of its own, where `jax.enable_x64` does not reach."""
    with ThreadPoolExecutor(1) as fresh:
        before = fresh.submit(jnp.result_type, float).result() == np.float64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


@dataclass(frozen=True)
class Strategy:
    """A way of running a function."""

    name: str
    widened: bool
    """Whether the function receives float64 arguments instead of its own dtypes."""
    traced: bool
    """Whether it is traced, and its jaxpr evaluated in float64, instead of called."""

    def context(self) -> contextlib.AbstractContextManager[None]:
        """Return the configuration in which the user's Python code runs."""
        return float64_enabled() if self.widened else contextlib.nullcontext()

    def vector(self, values: np.ndarray) -> jax.Array:
        """Return a vector in the dtype that the user's Python code receives; call it inside ``context()``."""
        return jnp.asarray(np.asarray(values, jax.dtypes.canonicalize_dtype(np.float64)))

    @property
    def epsilon(self) -> float:
        """The rounding unit of the results."""
        double = self.traced or self.widened or jax.dtypes.canonicalize_dtype(np.float64) == np.float64
        return float(np.finfo(np.float64 if double else np.float32).eps)


STRATEGIES = (
    Strategy("float64", widened=True, traced=True),
    Strategy("float64, from the jaxpr of the function in its own dtype", widened=False, traced=True),
    Strategy("float64, called op by op", widened=True, traced=False),
    Strategy("its own dtype, called op by op", widened=False, traced=False),
)
"""From the best to the last resort."""
