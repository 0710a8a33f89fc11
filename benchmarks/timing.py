"""Wall-clock times of several implementations without interference, and the machine on which they were measured.

The thread pool of a library keeps spinning for a while after each call, so calls of different implementations are never
mixed: each block of calls belongs to one implementation and starts after a pause. The blocks alternate, so that a
machine that slows down affects all implementations alike. A time is the median over all blocks.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = [
    "Thunk",
    "background_load",
    "cpu_seconds",
    "geometric_mean",
    "matrix_peak",
    "time_alternately",
    "time_block",
    "versions",
]

Thunk = Callable[[], Any]
LONG = 0.2
"""Calls longer than this many seconds are timed once per block, without warm-up."""


def time_alternately(
    implementations: Mapping[str, Mapping[str, Thunk]], *, blocks: int = 3, seconds: float = 0.15, pause: float = 0.1
) -> dict[str, dict[str, dict[str, float]]]:
    """Time functions in alternating blocks: {implementation: {function: {"ms", "fastest", "calls"}}}.

    A function computes and waits for its result. "ms" is the median time of a call over `blocks` blocks of about
    `seconds` each, "fastest" the shortest time, and "calls" the number of calls.
    """
    for calls in implementations.values():
        for call in calls.values():
            call()  # compiles
    times = {name: {what: [] for what in calls} for name, calls in implementations.items()}
    for _ in range(blocks):
        for name, calls in implementations.items():
            time.sleep(pause)
            for what, call in calls.items():
                times[name][what] += time_block(call, seconds)
    return {name: {what: _summary(samples) for what, samples in of.items()} for name, of in times.items()}


def time_block(call: Thunk, seconds: float) -> list[float]:
    """Times (s) of calls repeated for about `seconds`, at least two, after a warm-up call that is not counted."""
    first = _time(call)
    if first > LONG:
        return [first]
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while len(samples) < 2 or time.perf_counter() < end:
        samples.append(_time(call))
    return samples


def _time(call: Thunk) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _summary(samples: list[float]) -> dict[str, float]:
    milliseconds = [1e3 * s for s in samples]
    return {
        "ms": float(f"{statistics.median(milliseconds):.4g}"),
        "fastest": float(f"{min(milliseconds):.4g}"),
        "calls": len(samples),
    }


def cpu_seconds() -> tuple[float, float, float]:
    """Wall-clock seconds, busy CPU seconds of the whole machine, and CPU seconds of this process, so far."""
    path = Path("/proc/stat")
    if not path.exists():
        return time.perf_counter(), time.process_time(), time.process_time()
    fields = path.read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, soft, steal = (int(f) / os.sysconf("SC_CLK_TCK") for f in fields[:8])
    return time.perf_counter(), user + nice + system + irq + soft + steal, time.process_time()


def background_load(before: tuple[float, float, float]) -> float:
    """CPU usage by other processes since `before`, in percent of all cores; 0 where /proc is not available."""
    clock, everyone, own = (now - then for now, then in zip(cpu_seconds(), before, strict=True))
    return round(max(100 * (everyone - own) / (clock * (os.cpu_count() or 1)), 0.0), 1)


def geometric_mean(values: Iterable[float]) -> float:
    """The geometric mean."""
    return math.exp(statistics.fmean(map(math.log, values)))


def matrix_peak(sizes: tuple[int, ...] = (1024, 1536), seconds: float = 0.3) -> float:
    """Peak throughput of float32 matrix multiplication on this machine, in GFLOP/s.

    The fastest call over square matrices of several sizes (2 n^3 operations), by JAX and, on a CPU, by PyTorch.
    """
    best = 0.0
    for n in sizes:
        a = np.random.default_rng(0).standard_normal((n, n), np.float32)
        for product in _products(a):
            time.sleep(0.1)
            best = max(best, 2e-9 * n**3 / min(time_block(product, seconds)))
    return best


def _products(a: np.ndarray) -> list[Thunk]:
    on_device = jnp.asarray(a)
    multiply = jax.jit(jnp.matmul)
    products: list[Thunk] = [lambda: multiply(on_device, on_device).block_until_ready()]
    try:
        import torch
    except ImportError:
        return products
    tensor = torch.from_numpy(a)
    if jax.default_backend() == "cpu":
        products.append(lambda: torch.mm(tensor, tensor))
    return products


def versions(*packages: str) -> dict[str, str]:
    """The versions of Python and of the installed packages among `packages`."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
