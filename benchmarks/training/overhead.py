"""Overhead before the first step: importing cnnjax, tracing a convolution, compiling a training step."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import cnnjax
from benchmarks.training.networks import RATE, batch, jax_step, network, weights
from cnnjax.operator import MethodName

__all__ = ["compile_seconds", "import_milliseconds", "trace_milliseconds"]

_IMPORT = """
import time, numpy, jax, jax.numpy
start = time.perf_counter()
import cnnjax
print(1e3 * (time.perf_counter() - start))
"""


def import_milliseconds(repeats: int = 7) -> float:
    """The time of `import cnnjax` after `import jax`, the median over fresh interpreters."""
    run = lambda: subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True)  # noqa: E731
    return round(statistics.median(float(run().stdout) for _ in range(repeats)), 1)


def trace_milliseconds(repeats: int = 30) -> dict[str, dict[str, float]]:
    """{implementation: {"trace", "lower"}}: median ms for a 3 x 3 convolution of 8x56x56x64; "lower" to StableHLO."""
    x, w = jnp.ones((8, 56, 56, 64)), jnp.ones((3, 3, 64, 64))
    numbers = ("NHWC", "HWIO", "NHWC")
    convolve: dict[str, Callable[..., Any]] = {
        "cnnjax": lambda x, w: cnnjax.conv2d(x, w),
        "lax": lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=numbers),
    }
    found: dict[str, dict[str, list[float]]] = {name: {"trace": [], "lower": []} for name in convolve}
    for _ in range(repeats + 1):
        for name, f in convolve.items():
            start = time.perf_counter()
            traced = jax.jit(lambda x, w, f=f: f(x, w)).trace(x, w)
            middle = time.perf_counter()
            traced.lower()
            end = time.perf_counter()
            found[name]["trace"].append(middle - start)
            found[name]["lower"].append(end - middle)
    return {  # the first round fills caches
        name: {stage: round(1e3 * statistics.median(times[1:]), 2) for stage, times in of.items()}
        for name, of in found.items()
    }


def compile_seconds(size: int, repeats: int = 3) -> dict[str, float]:
    """{method: seconds to trace and compile LeNet-5's training step}, the median of alternating repeats."""
    params = jax.tree.map(jnp.array, weights())
    arguments = (params, optax.adam(RATE).init(params), *batch(size))
    found: dict[MethodName, list[float]] = {"auto": [], "lax": []}
    for _ in range(repeats):
        for method, seconds in found.items():
            start = time.perf_counter()
            jax_step(network(method).apply).lower(*arguments).compile()
            seconds.append(time.perf_counter() - start)
    return {method: round(statistics.median(seconds), 3) for method, seconds in found.items()}
