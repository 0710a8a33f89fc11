"""Wall-clock times of contenders that must not disturb one another, and what they were measured on.

The thread pools of two libraries spin for a while after each call, so calls of different contenders are never mixed:
each contender has blocks of its own, with a pause before each, and the blocks alternate, so that a machine that slows
down slows all of them. A time is the median over all blocks.
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
    "Call",
    "alternate",
    "block",
    "geometric_mean",
    "matrix_peak",
    "others_percent",
    "processor_seconds",
    "versions",
]

Call = Callable[[], Any]
LONG = 0.2
"""A call of more than so many seconds is timed once a block, and needs no warming up."""


def alternate(
    contenders: Mapping[str, Mapping[str, Call]], *, blocks: int = 3, seconds: float = 0.15, pause: float = 0.1
) -> dict[str, dict[str, dict[str, float]]]:
    """Time the calls of each contender in alternating blocks: {contender: {call: {"ms", "fastest", "calls"}}}.

    A call computes and waits for its result. "ms" is the median of `blocks` blocks of about `seconds` each, "fastest"
    the shortest, "calls" how many there were.
    """
    for calls in contenders.values():
        for call in calls.values():
            call()  # compiles
    times = {name: {what: [] for what in calls} for name, calls in contenders.items()}
    for _ in range(blocks):
        for name, calls in contenders.items():
            time.sleep(pause)
            for what, call in calls.items():
                times[name][what] += block(call, seconds)
    return {name: {what: _summary(samples) for what, samples in of.items()} for name, of in times.items()}


def block(call: Call, seconds: float) -> list[float]:
    """Times (s) of repeated calls for as long as `seconds`, at least two after one that warms up and does not count."""
    first = _time(call)
    if first > LONG:
        return [first]
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while len(samples) < 2 or time.perf_counter() < end:
        samples.append(_time(call))
    return samples


def _time(call: Call) -> float:
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


def processor_seconds() -> tuple[float, float, float]:
    """Since the start: seconds of the clock, of all processors at work for anyone, and of this process alone."""
    path = Path("/proc/stat")
    if not path.exists():
        return time.perf_counter(), time.process_time(), time.process_time()
    fields = path.read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, soft, steal = (int(f) / os.sysconf("SC_CLK_TCK") for f in fields[:8])
    return time.perf_counter(), user + nice + system + irq + soft + steal, time.process_time()


def others_percent(before: tuple[float, float, float]) -> float:
    """The part of the processors that other processes used since `before`, in percent; 0 where Linux does not tell."""
    clock, everyone, own = (now - then for now, then in zip(processor_seconds(), before, strict=True))
    return round(max(100 * (everyone - own) / (clock * (os.cpu_count() or 1)), 0.0), 1)


def geometric_mean(values: Iterable[float]) -> float:
    """exp of the mean logarithm."""
    return math.exp(statistics.fmean(map(math.log, values)))


def matrix_peak(sizes: tuple[int, ...] = (1024, 1536), seconds: float = 0.3) -> float:
    """The most multiply-adds that this machine does as matrix products, in 1e9 floating-point operations a second.

    float32, n x n by n x n, 2 n^3 operations; the fastest call over the sizes and over JAX and, on a CPU, PyTorch.
    """
    best = 0.0
    for n in sizes:
        a = np.random.default_rng(0).standard_normal((n, n), np.float32)
        for product in _products(a):
            time.sleep(0.1)
            best = max(best, 2e-9 * n**3 / min(block(product, seconds)))
    return best


def _products(a: np.ndarray) -> list[Call]:
    on_device = jnp.asarray(a)
    multiply = jax.jit(jnp.matmul)
    products: list[Call] = [lambda: multiply(on_device, on_device).block_until_ready()]
    try:
        import torch
    except ImportError:
        return products
    tensor = torch.from_numpy(a)
    if jax.default_backend() == "cpu":
        products.append(lambda: torch.mm(tensor, tensor))
    return products


def versions(*packages: str) -> dict[str, str]:
    """The versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
